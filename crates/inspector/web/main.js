// The page: fields in, answers out. What is judged, and every reason, comes from the core.
import { ask, fieldBytes } from "./core.js";
import { byId, element, svg, when } from "./dom.js";
import { copy, say, show, showNothing } from "./report.js";

const TEXTS = ["chain", "trust", "policy", "headers", "settings"];
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
  if (byId("elements").value) {
    state.elements = Number(byId("elements").value);
  }
  if (time !== null) {
    state.time = time;
  }
  return state;
}

function writeState(state) {
  for (const field of FIELDS) {
    byId(field).value = state[field] ?? (field === "format" ? "AUTO" : "");
  }
  time = state.time ?? null;
  showTime();
  byId("more").open = Boolean(state.policy || state.settings);
  return judge();
}

function showProblem(problem) {
  for (const shown of document.querySelectorAll("#inputs .problem")) {
    const mine = problem && shown.id === `${problem.field}-problem`;
    shown.hidden = !mine;
    shown.textContent = mine ? problem.sentence : "";
    const field = byId(shown.id.replace("-problem", ""));
    field?.setAttribute("aria-invalid", String(Boolean(mine)));
    if (mine) {
      const around = shown.closest("details");
      if (around) {
        around.open = true;
      }
    }
  }
}

// --- judging ----------------------------------------------------------------

/** Judges one after another; what is overtaken before its turn is left out. */
function judge(anew = true) {
  const mine = ++turn;
  timelineIsOld ||= anew;
  judging = judging.then(() => (mine === turn ? judgeNow(mine) : undefined));
  return judging;
}

async function judgeNow(mine) {
  const state = readState();
  const text = JSON.stringify(state);
  const report = await ask("inspect", text, present());
  if (mine !== turn) {
    return;
  }
  showProblem(report.problem);
  if (report.problem) {
    if (report.problem.privateKey && byId(report.problem.field)) {
      byId(report.problem.field).value = "";
    }
    showNothing(report.problem.sentence);
    byId("times").hidden = true;
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
    if (mine === turn) {
      timelineIsOld = false;
      showSegments(segments ?? []);
    }
  }
}

let pause;
function judgeSoon() {
  clearTimeout(pause);
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

async function take(field, name, bytes, at) {
  const refuse = (problem) => {
    turn += 1;
    showProblem(problem);
    showNothing(problem.sentence);
    say(problem.sentence);
  };
  const limit = await fieldBytes;
  if (bytes.byteLength > limit) {
    refuse({ field, sentence: `${name}: ${bytes.byteLength} bytes are too many, the limit is ${limit}.` });
    return;
  }
  const { problem, text } = await ask("admit", field, name, bytes);
  if (problem) {
    refuse(problem);
    return;
  }
  const target = byId(field);
  if (at) {
    target.setRangeText(text, ...at, "end");
  } else {
    target.value = text;
  }
  judge();
}

async function takeFile(field, file) {
  const limit = await fieldBytes;
  // Looked at before it is read: it may be of any size.
  if (file.size > limit) {
    take(field, file.name, { byteLength: file.size });
    return;
  }
  take(field, file.name, new Uint8Array(await file.arrayBuffer()));
}

function wire(field) {
  const target = byId(field);
  target.addEventListener("input", judgeSoon);
  target.addEventListener("paste", (event) => {
    event.preventDefault();
    const [file] = event.clipboardData.files;
    if (file) {
      takeFile(field, file);
      return;
    }
    const bytes = new TextEncoder().encode(event.clipboardData.getData("text/plain"));
    take(field, target.labels[0].textContent, bytes, [target.selectionStart, target.selectionEnd]);
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
      take(field, target.labels[0].textContent, new TextEncoder().encode(event.dataTransfer.getData("text/plain")));
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
  const { problem, fragment } = await ask("toFragment", JSON.stringify(readState()));
  showProblem(problem);
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
  const { problem, state } = await ask("fromFragment", fragment);
  if (problem) {
    await clear();
    showProblem(problem);
    showNothing(problem.sentence);
  } else {
    await writeState(state);
  }
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
addEventListener("hashchange", openLink);

fieldBytes.catch((error) => showNothing(`The page cannot work: ${error.message}.`));
showExamples().catch(() => (byId("example-why").textContent = "The examples cannot be loaded."));
if (!(await openLink())) {
  await clear();
}
document.documentElement.dataset.ready = "true";
