// The page: fields in, answers out. What is judged, and every reason, comes from the core.
import { ask, fieldBytes } from "./core.js";
import { byId, element, svg, when } from "./dom.js";
import { copy, say, show, showNothing, showWorking } from "./report.js";

const TEXTS = ["chain", "trust", "policy", "headers", "settings"];
const SLOW = 300;
const FIELDS = [...TEXTS, "format", "mode", "profile", "elements"];
const HEADERS = [
  "X-Client-Cert-Present:{client_cert_present}",
  "X-Client-Cert-Chain-Verified:{client_cert_chain_verified}",
  "X-Client-Cert-Error:{client_cert_error}",
  "X-Client-Cert-SPIFFE:{client_cert_spiffe_id}",
  "X-Client-Cert-Leaf:{client_cert_leaf}",
].join("\n");

/** Seconds since 1970; null is the present. */
let time = null;
let turn = 0;
/** Raised when the whole page changes: answers to what was asked before are dropped. */
let generation = 0;
/** What was refused, and the last judgement before it: that one must not hide it. */
let refused = { problems: [], turn: 0 };
let slow;
let pause = 0;
let judging = Promise.resolve();
let timelineIsOld = true;

const present = () => Math.floor(Date.now() / 1000);

// --- fields and state -------------------------------------------------------

function readState() {
  const state = { format: byId("format").value };
  for (const field of TEXTS) {
    state[field] = byId(field).value;
  }
  for (const field of ["mode", "profile"]) {
    if (byId(field).value) {
      state[field] = byId(field).value;
    }
  }
  const elements = Number(byId("elements").value);
  if (elements && Number.isSafeInteger(elements)) {
    state.elements = elements;
  }
  if (Number.isSafeInteger(time)) {
    state.time = time;
  }
  return state;
}

/** Numbers that are not sent: the core would read others in their place, or none. */
function numberProblems() {
  const problems = [];
  const { value, validity } = byId("elements");
  if (validity.badInput || (value && !(Number.isSafeInteger(Number(value)) && Number(value) > 0))) {
    problems.push({ field: "elements", sentence: "Elements of XFCC: this is no whole number from 1." });
  }
  if (time !== null && !Number.isSafeInteger(time)) {
    problems.push({ field: "time", sentence: "Validation time: this is no time that can be judged. Choose another." });
  }
  return problems;
}

function writeState(state) {
  generation += 1;
  for (const field of FIELDS) {
    byId(field).value = state[field] ?? (field === "format" ? "AUTO" : "");
  }
  time = state.time ?? null;
  showTime();
  byId("more").open = Boolean(state.policy || state.settings);
  return judge();
}

/** Shows one sentence at its field; none hides it. */
function mark(shown, sentence) {
  shown.hidden = !sentence;
  shown.textContent = sentence;
  byId(shown.id.replace("-problem", ""))?.setAttribute("aria-invalid", String(Boolean(sentence)));
  const around = sentence && shown.closest("details");
  if (around) {
    around.open = true;
  }
}

function showProblems(problems) {
  for (const shown of document.querySelectorAll("#inputs .problem")) {
    mark(shown, problems.find(({ field }) => shown.id === `${field}-problem`)?.sentence ?? "");
  }
  if (problems.length > 0) {
    showNothing(problems[0].sentence);
    byId("times").hidden = true;
    timelineIsOld = true;
  }
}

/** Stands until something is judged that is asked for later. What is already asked for looks for keys. */
function refuse(problem) {
  if (pause) {
    judge();
  }
  judged();
  refused = { problems: [problem], turn };
  showProblems(refused.problems);
  say(problem.sentence);
}

// --- judging ----------------------------------------------------------------

/** Judges one after another; what is overtaken before its turn is left out. */
function judge(anew = true) {
  clearTimeout(pause);
  pause = 0;
  const mine = ++turn;
  timelineIsOld ||= anew;
  // What is shown belongs to other input by now.
  slow ??= setTimeout(() => turn > refused.turn && showWorking(), SLOW);
  judging = judging
    .then(() => (mine === turn ? judgeNow(mine) : undefined))
    // One that breaks must not be the last.
    .catch((error) => {
      if (mine === turn) {
        judged();
        showProblems([{ field: "state", sentence: `This cannot be shown: ${error.message}.` }]);
      }
    });
  return judging;
}

function judged() {
  clearTimeout(slow);
  slow = undefined;
}

async function judgeNow(mine) {
  const problems = [];
  let state;
  let text;
  let report;
  // The core names one field at a time.
  for (;;) {
    state = readState();
    text = JSON.stringify(state);
    report = await ask("inspect", text, present());
    if (mine !== turn) {
      return;
    }
    const { problem } = report;
    if (problem) {
      problems.push(problem);
    }
    // A field that is another by now is judged soon.
    if (!problem?.privateKey || !state[problem.field] || byId(problem.field).value !== state[problem.field]) {
      break;
    }
    byId(problem.field).value = "";
  }
  judged();
  const stands = mine <= refused.turn ? refused.problems : [];
  problems.unshift(...stands);
  problems.push(...numberProblems());
  showProblems(problems);
  if (problems.length > 0) {
    return;
  }
  const nothing = !state.chain.trim() && !state.trust.trim();
  if (nothing) {
    showNothing("Paste a chain and a trust config, or choose an example.");
    byId("times").hidden = true;
    return;
  }
  show(report);
  if (timelineIsOld) {
    const { segments } = await ask("timeline", text);
    if (mine === turn && mine > refused.turn) {
      timelineIsOld = false;
      showSegments(segments ?? []);
    }
  }
}

function judgeSoon() {
  clearTimeout(pause);
  timelineIsOld = true;
  pause = setTimeout(() => judge(), 150);
}

// --- time -------------------------------------------------------------------

function showTime() {
  const shown = new Date((time ?? present()) * 1000);
  byId("time").value = Number.isNaN(shown.getTime()) ? "" : shown.toISOString().slice(0, 19);
  byId("now").setAttribute("aria-pressed", String(time === null));
  byId("slider").value = time ?? present();
  byId("slider").setAttribute("aria-valuetext", when(time ?? present()));
}

function showSegments(segments) {
  byId("times").hidden = segments.length === 0;
  if (segments.length === 0) {
    return;
  }
  const [start, end] = [segments[0].from, segments[segments.length - 1].to];
  const slider = byId("slider");
  slider.min = start;
  slider.max = end;
  slider.step = Math.max(1, Math.floor((end - start) / 1000));
  const x = (seconds) => (1000 * (seconds - start)) / Math.max(1, end - start);
  byId("segments").replaceChildren(
    ...segments.map(({ from, to, state }) => svg("rect", { class: state, x: x(from), y: 0, width: Math.max(2, x(to) - x(from)), height: 12 })),
  );
  const words = { accepted: "accepted", passedOn: "not verified", refused: "refused", off: "not asked for" };
  byId("changes").replaceChildren(
    ...segments.map(({ from, state, error }, index) => {
      const since = index === 0 ? "before that" : `from ${when(from)}`;
      return element("li", { class: state }, element("span", { text: `${since}: ` }), element("b", { text: words[state] }), error ? element("code", { text: ` ${error}` }) : "");
    }).toReversed(),
  );
  showTime();
}

function chooseTime(seconds) {
  time = seconds;
  showTime();
  judge(false);
}

// --- files, drops and pastes ------------------------------------------------

const tooMany = (field, name, bytes, limit) => ({ field, sentence: `${name}: ${bytes} bytes are too many, the limit is ${limit}.` });
const label = (field) => byId(field).labels[0].textContent;

/** Takes bytes in the place of all there is, or of the selection. */
async function take(field, name, bytes, { inserts = false, from = generation } = {}) {
  const limit = await fieldBytes;
  const { problem, text } = bytes.byteLength > limit ? { problem: tooMany(field, name, bytes.byteLength, limit) } : await ask("admit", field, name, bytes);
  if (from !== generation) {
    return;
  }
  if (problem) {
    refuse(problem);
    return;
  }
  const target = byId(field);
  if (inserts) {
    const { value, selectionStart, selectionEnd } = target;
    const size = new TextEncoder().encode(value.slice(0, selectionStart) + text + value.slice(selectionEnd)).byteLength;
    if (size > limit) {
      refuse(tooMany(field, name, size, limit));
      return;
    }
    target.setRangeText(text, selectionStart, selectionEnd, "end");
  } else {
    target.value = text;
  }
  judge();
}

function takeText(field, text, inserts) {
  take(field, label(field), new TextEncoder().encode(text), { inserts }).catch((error) => refuse({ field, sentence: `${label(field)}: this cannot be taken: ${error.message}.` }));
}

async function takeFile(field, file) {
  const from = generation;
  try {
    const limit = await fieldBytes;
    // Looked at before it is read: it may be of any size.
    const bytes = file.size > limit ? { byteLength: file.size } : new Uint8Array(await file.arrayBuffer());
    await take(field, file.name, bytes, { from });
  } catch (error) {
    // It is gone, a folder, or may not be read.
    if (from === generation) {
      refuse({ field, sentence: `${label(field)}: this file cannot be read: ${error.message}.` });
    }
  }
}

function wire(field) {
  const target = byId(field);
  target.addEventListener("input", judgeSoon);
  target.addEventListener("paste", (event) => {
    event.preventDefault();
    const text = event.clipboardData.getData("text/plain");
    const [file] = event.clipboardData.files;
    // Some programs put a picture beside the text that was copied.
    if (text) {
      takeText(field, text, true);
    } else if (file) {
      takeFile(field, file);
    }
  });
  target.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("over");
  });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) {
      takeFile(field, file);
    } else {
      takeText(field, event.dataTransfer.getData("text/plain"), false);
    }
  });
  target.closest(".field").querySelector(".file").addEventListener("click", () => {
    const chooser = byId("file");
    chooser.value = "";
    chooser.onchange = () => chooser.files[0] && takeFile(field, chooser.files[0]);
    chooser.click();
  });
}

// --- links ------------------------------------------------------------------

async function makeLink() {
  const from = generation;
  const [wrong] = numberProblems();
  const { problem, fragment } = wrong ? { problem: wrong } : await ask("toFragment", JSON.stringify(readState()));
  if (from !== generation) {
    return;
  }
  // What else is wrong stays on show.
  mark(byId(`${problem?.field ?? "link"}-problem`) ?? byId("state-problem"), problem?.sentence ?? "");
  if (problem) {
    return;
  }
  history.replaceState(null, "", `#${fragment}`);
  copy(byId("link"), "the link", location.href);
}

async function openLink() {
  const fragment = location.hash.slice(1);
  if (!fragment) {
    return false;
  }
  const from = generation;
  const { problem, state } = await ask("fromFragment", fragment);
  if (from !== generation || fragment !== location.hash.slice(1)) {
    return true;
  }
  if (!problem) {
    await writeState(state);
    return true;
  }
  // It may hold a private key. The fields are the user's, and stay.
  history.replaceState(null, "", location.pathname);
  if (TEXTS.every((field) => !byId(field).value)) {
    clear();
  }
  refuse(problem);
  return true;
}

// --- examples ---------------------------------------------------------------

async function showExamples() {
  const examples = await (await fetch("./examples.json")).json();
  byId("examples").replaceChildren(
    ...examples.map(({ name, title, why, state }) => {
      const button = element("button", { type: "button", text: title, "data-example": name });
      button.addEventListener("click", () => {
        history.replaceState(null, "", location.pathname);
        byId("example-why").textContent = why;
        writeState(state);
      });
      return button;
    }),
  );
}

function clear() {
  history.replaceState(null, "", location.pathname);
  byId("example-why").textContent = "";
  return writeState({ headers: HEADERS });
}

// --- start ------------------------------------------------------------------

for (const field of TEXTS) {
  wire(field);
}
for (const field of ["format", "mode", "profile", "elements"]) {
  byId(field).addEventListener("change", () => judge());
}
byId("inputs").addEventListener("submit", (event) => event.preventDefault());
byId("time").addEventListener("change", () => {
  const chosen = Date.parse(`${byId("time").value}Z`);
  if (!Number.isNaN(chosen)) {
    chooseTime(Math.floor(chosen / 1000));
  }
});
byId("slider").addEventListener("input", () => chooseTime(Number(byId("slider").value)));
byId("now").addEventListener("click", () => chooseTime(null));
byId("link").addEventListener("click", makeLink);
byId("clear").addEventListener("click", clear);
addEventListener("hashchange", () => /^#v\d+\./.test(location.hash) && openLink());
// As a fragment it would be taken for a link to a state.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("results").focus();
});
// What is dropped beside a field would take the place of the page.
for (const name of ["dragover", "drop"]) {
  addEventListener(name, (event) => event.preventDefault());
}

fieldBytes.catch((error) => showNothing(`The page cannot work: ${error.message}.`));
showExamples().catch(() => (byId("example-why").textContent = "The examples cannot be loaded."));
if (!(await openLink())) {
  await clear();
}
document.documentElement.dataset.ready = "true";
