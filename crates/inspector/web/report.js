// What the core answers, as elements.
import { byId, element, svg, when } from "./dom.js";
import { draw, title } from "./graph.js";

const STATES = {
  accepted: ["✓", "Accepted"],
  passedOn: ["!", "Not verified, passed on"],
  refused: ["✕", "Refused"],
  off: ["–", "Not asked for"],
};

let said = 0;

/** For screen readers, and for nobody else. */
export function say(text) {
  byId("said").textContent = text;
  const mine = ++said;
  setTimeout(() => mine === said && (byId("said").textContent = ""), 4000);
}

/** A button that copies what `text` gives. */
export function copyButton(label, text) {
  const button = element("button", { type: "button", class: "copy", text: "Copy", "aria-label": `Copy ${label}` });
  button.addEventListener("click", () => copy(button, label, text()));
  return button;
}

/** Copies, and says so on the button and aloud. */
export async function copy(button, label, text) {
  const before = button.dataset.label ?? (button.dataset.label = button.textContent);
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    say(`Copied ${label}`);
  } catch {
    button.textContent = "Not allowed";
    say("The browser does not let this page copy");
  }
  setTimeout(() => (button.textContent = before), 2000);
}

function line(id, text) {
  const target = byId(id);
  target.hidden = !text;
  target.lastElementChild.textContent = text;
}

function noVerdict(state, sentence) {
  const verdict = byId("verdict");
  verdict.dataset.state = "none";
  verdict.querySelector(".mark").textContent = "";
  byId("verdict-state").textContent = state;
  byId("verdict-sentence").textContent = sentence;
  byId("verdict-time").textContent = "";
  line("verdict-error", "");
  line("verdict-mend", "");
}

/** Nothing to show, and why. */
export function showNothing(sentence) {
  noVerdict("No verdict", sentence);
  byId("warnings").replaceChildren();
  byId("report").hidden = true;
  byId("results").setAttribute("aria-busy", "false");
}

/** No verdict yet on what is in the fields; what is below stays, it would only flicker. */
export function showWorking() {
  noVerdict("Working…", "What was changed is being judged.");
  byId("results").setAttribute("aria-busy", "true");
}

/** Everything. */
export function show(report) {
  const [mark, state] = STATES[report.verdict.state];
  const verdict = byId("verdict");
  verdict.dataset.state = report.verdict.state;
  verdict.querySelector(".mark").textContent = mark;
  byId("verdict-state").textContent = state;
  byId("verdict-sentence").textContent = report.verdict.sentence;
  line("verdict-error", report.verdict.error);
  line("verdict-mend", report.verdict.mend);
  byId("verdict-time").textContent = [`At ${when(report.time)}`, report.form && `read as ${report.form}`].filter(Boolean).join(", ");
  byId("warnings").replaceChildren(...report.warnings.map((text) => element("li", { text })));
  draw(byId("graph"), report, reveal);
  byId("beside").textContent = report.beside ? `${report.beside} configured certificates play no part: no name leads to them.` : "";
  showSearches(report);
  byId("certificates").replaceChildren(...report.certificates.map((node, index) => card(node, index, report)));
  byId("variables").tBodies[0].replaceChildren(...report.variables.map(variable));
  showHeaders(report.headers);
  for (const part of document.querySelectorAll("[data-yaml]")) {
    const text = report.configuration[part.dataset.yaml];
    const label = part.querySelector("summary").textContent;
    part.replaceChildren(part.querySelector("summary"), element("div", { class: "code" }, copyButton(label, () => text), element("pre", { text, tabindex: 0 })));
  }
  byId("report").hidden = false;
  byId("results").setAttribute("aria-busy", "false");
}

function reveal(index) {
  const target = byId(`certificate-${index}`);
  target.open = true;
  target.scrollIntoView({ block: "center" });
  target.querySelector("summary").focus({ preventScroll: true });
}

function showSearches({ searches }) {
  const target = byId("searches");
  target.replaceChildren();
  if (searches.length === 0) {
    target.append(element("p", { class: "hint", text: "No path was looked for: the reason above comes before that." }));
  }
  for (const { purposes, steps } of searches) {
    if (!purposes) {
      target.append(element("p", { class: "hint", text: "The same with key purposes left aside: is anything else wrong?" }));
    }
    const list = element("ol", { class: "tree" });
    for (const step of steps) {
      const item = element("li", { class: step.outcome, "data-depth": Math.min(step.position, 10) },
        element("span", { text: step.subject }), element("span", { class: "origin", text: step.origin }));
      const outcome = { accepted: "✓ accepted", rejected: `✕ rejected: ${step.reason}`, fits: "fits; nothing above it is accepted" }[step.outcome];
      item.append(element("span", { class: "outcome", text: outcome }));
      list.append(item);
    }
    target.append(list);
  }
}

function card(node, index, report) {
  const wrong = node.faults.length > 0;
  const state = node.onPath ? "on-path" : wrong ? "wrong" : "";
  const summary = element("summary", {}, element("strong", { text: `${node.onPath ? "✓ " : wrong ? "✕ " : ""}${title(node)}` }), element("span", { class: "origin", text: node.roles.join(", ") }));
  const made = element("details", { id: `certificate-${index}`, class: `card ${state}` }, summary);
  made.open = node.onPath || wrong || node.kind === "endEntity";
  const list = element("dl");
  const { view } = node;
  const add = (field, label, value) => {
    const faults = node.faults.filter((fault) => fault.field === field);
    const text = value === null || value === undefined ? "absent" : Array.isArray(value) ? value.join("\n") || "none" : value;
    if (faults.length === 0 && (text === "none" || text === "")) {
      return;
    }
    const shown = value instanceof Node ? value : element("span", { class: value === null ? "absent" : "", text });
    const detail = element("dd", {}, shown, ...faults.map((fault) => element("span", { class: "fault", text: `✕ ${fault.sentence}` })));
    list.append(element("div", { class: faults.length ? "wrong" : "", "data-field": field }, element("dt", { text: label }), detail));
  };
  if (!view) {
    add("certificate", "Certificate", "cannot be read");
    made.append(list);
    return made;
  }
  add("subject", "Subject", view.subject);
  add("issuer", "Issuer", view.issuer);
  add("names", "Alternative names", view.names);
  if (view.spiffeId) {
    add("spiffe", "SPIFFE ID", view.spiffeId);
  }
  add("validity", "Validity", dates(view, report));
  add("key", "Key", view.keyBits ? `${view.key}, ${view.keyBits} bits` : view.key);
  add("signature", "Signature", view.signature);
  add("basicConstraints", "Basic constraints", view.basicConstraints);
  add("keyUsage", "Key usage", view.keyUsage && view.keyUsage.join(", "));
  add("extKeyUsage", "Extended key usage", view.extKeyUsage && view.extKeyUsage.join(", "));
  add("nameConstraints", "Name constraints", view.nameConstraints);
  add("policies", "Policies", view.policies);
  add("extensions", "Critical, not supported", view.unprocessedCritical ?? "");
  add("revocation", "Revocation", "");
  add("certificate", "Certificate", "");
  add("ids", "Key identifiers", [view.subjectKeyId && `subject ${view.subjectKeyId}`, view.authorityKeyId && `authority ${view.authorityKeyId}`].filter(Boolean));
  add("serial", "Serial number", view.serial);
  add("sha256", "SHA-256", `${view.sha256}, ${view.bytes} bytes`);
  made.append(list);
  return made;
}

/** The validity as a bar among all of them, with the chosen time across. */
function dates(view, { certificates, time }) {
  const views = certificates.flatMap((node) => node.view ?? []);
  const start = Math.min(time, ...views.map((one) => one.notBefore));
  const end = Math.max(time, ...views.map((one) => one.notAfter));
  const x = (seconds) => 4 + (992 * (seconds - start)) / Math.max(1, end - start);
  const inside = view.notBefore <= time && time <= view.notAfter;
  const bar = svg("svg", { class: `dates ${inside ? "inside" : "outside"}`, viewBox: "0 0 1000 16", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "all", x: 0, y: 6, width: 1000, height: 4 }),
    svg("rect", { class: "valid", x: x(view.notBefore), y: 3, width: Math.max(3, x(view.notAfter) - x(view.notBefore)), height: 10, rx: 3 }),
    svg("rect", { class: "time", x: x(time) - 2, y: 0, width: 4, height: 16 }));
  return element("div", {}, element("span", { text: `${when(view.notBefore)} to ${when(view.notAfter)}` }), bar);
}

function variable({ name, value, decoded, size, limit, unit, over }) {
  const amount = over ? `over the limit of ${limit} ${unit}` : value && limit ? `${size} of ${limit} ${unit}` : value ? `${size} bytes` : "";
  const long = value.length > 120;
  const raw = long
    ? element("details", {}, element("summary", {}, element("code", { text: `${value.slice(0, 60)}…` })), element("code", { text: value }))
    : element("code", { text: value || "(empty)", class: value ? "" : "absent" });
  const meter = element("td", { class: over ? "wrong" : "" }, element("span", { text: over ? `✕ ${amount}` : amount }));
  if (limit && value && !over) {
    meter.append(element("meter", { min: 0, max: limit, value: size, "aria-label": `${name}: ${amount}` }));
  }
  const cell = element("td", {}, raw);
  if (value) {
    cell.append(copyButton(name, () => value));
  }
  return element("tr", { "data-variable": name }, element("th", { scope: "row" }, element("code", { text: name })), cell, element("td", { class: "decoded", text: decoded }), meter);
}

function showHeaders({ forwarded, request, response, emptied }) {
  const none = byId("headers-none");
  none.textContent = !forwarded
    ? "None: the request goes to no backend."
    : request.length === 0
      ? "None: no custom headers are configured."
      : emptied
        ? `${emptied} headers are left empty: all values together pass the limit.`
        : "Whatever the client sends under these names, in any spelling, is removed first.";
  const rows = forwarded ? request.map(([name, value]) => [name, value]) : [];
  rows.push(...response.map(([name, value]) => [`${name} (of the response)`, value]));
  byId("backend").hidden = rows.length === 0;
  byId("backend").tBodies[0].replaceChildren(
    ...rows.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, element("code", { text: name })), element("td", {}, element("code", { text: value })))),
  );
}
