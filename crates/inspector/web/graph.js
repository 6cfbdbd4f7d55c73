// The certificates as a graph: the end entity on the left, what may have issued it to the right.
import { svg } from "./dom.js";

const NODE = { width: 222, height: 62 };
const GAP = { x: 64, labelled: 178, y: 42 };
const KINDS = {
  endEntity: "end entity",
  presented: "presented",
  configured: "configured intermediate",
  anchor: "trust anchor",
};

const clipped = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

function lines(text, length, count) {
  const found = [""];
  for (const word of text.split(" ")) {
    const last = found[found.length - 1];
    if (last && last.length + word.length >= length) {
      found.push(word);
    } else {
      found[found.length - 1] = last ? `${last} ${word}` : word;
    }
  }
  const shown = found.slice(0, count).map((line) => clipped(line, length + 4));
  if (found.length > count) {
    shown[count - 1] += " …";
  }
  return shown;
}

/** The name that people know a certificate by. */
export function title(node) {
  return node.view?.commonName ?? node.view?.subject ?? "cannot be read";
}

function places(nodes, edges) {
  const columns = [];
  for (const [index, node] of nodes.entries()) {
    (columns[node.level] ??= []).push(index);
  }
  const kept = columns.filter(Boolean);
  const tallest = Math.max(...kept.map((column) => column.length));
  const row = NODE.height + GAP.y;
  const found = [];
  let x = 6;
  for (const [number, column] of kept.entries()) {
    const labelled = edges.some((one) => one.label && column.includes(one.to));
    x += number === 0 ? 0 : labelled ? GAP.labelled : GAP.x;
    const ranked = [...column].sort((a, b) => nodes[b].onPath - nodes[a].onPath);
    for (const [y, index] of ranked.entries()) {
      found[index] = { x, y: 22 + (y + (tallest - column.length) / 2) * row };
    }
    x += NODE.width;
  }
  return { found, width: x + 8, height: tallest * row + 24 };
}

function edge(from, to, { state, label }) {
  const back = to.x <= from.x;
  const start = { x: from.x + (back ? NODE.width / 2 : NODE.width), y: from.y + (back ? 0 : NODE.height / 2) };
  const end = { x: to.x + (back ? NODE.width / 2 : -7), y: to.y + (back ? NODE.height : NODE.height / 2) };
  const bend = back ? 0 : (end.x - start.x) / 2;
  const path = svg("path", {
    class: `edge ${state}`,
    d: `M${start.x} ${start.y}C${start.x + bend} ${start.y} ${end.x - bend} ${end.y} ${end.x} ${end.y}`,
    "marker-end": `url(#head-${state})`,
  });
  if (!label) {
    return [path];
  }
  // Where the curve nears its end: there the edges of one certificate lie apart.
  const near = 0.6;
  const along = (a, b, c, d) =>
    a * (1 - near) ** 3 + 3 * b * near * (1 - near) ** 2 + 3 * c * near ** 2 * (1 - near) + d * near ** 3;
  const x = (start.x + end.x) / 2;
  const y = along(start.y, start.y, end.y, end.y);
  const wrapped = lines(`✕ ${label}`, 24, 3);
  const falls = end.y > start.y;
  const first = falls ? y + 26 : y - 8 - (wrapped.length - 1) * 14;
  const text = svg("text", { class: "why", "text-anchor": "middle" });
  for (const [number, line] of wrapped.entries()) {
    const part = svg("tspan", { x, y: first + number * 14 });
    part.textContent = line;
    text.append(part);
  }
  const whole = svg("title");
  whole.textContent = label;
  text.append(whole);
  return [path, text];
}

function box(node, place, choose) {
  const kind = KINDS[node.kind];
  const wrong = node.faults.length > 0;
  const group = svg("g", {
    class: `node ${node.kind}${node.onPath ? " on-path" : ""}${wrong ? " wrong" : ""}`,
    transform: `translate(${place.x} ${place.y})`,
    tabindex: 0,
    role: "button",
    "aria-label": `${kind}: ${title(node)}${node.onPath ? ", on the path" : ""}${wrong ? `; ${node.faults.map((fault) => fault.sentence).join("; ")}` : ""}`,
  });
  const write = (text, y, style) => {
    const line = svg("text", { x: 14, y, class: style });
    line.textContent = text;
    return line;
  };
  const whole = svg("title");
  whole.textContent = node.view?.subject ?? title(node);
  group.append(
    whole,
    svg("rect", { width: NODE.width, height: NODE.height, rx: 9 }),
    write(`${node.onPath ? "✓ " : wrong ? "✕ " : ""}${kind}`, 22, "kind"),
    write(clipped(title(node), 24), 44, "name"),
  );
  group.addEventListener("click", choose);
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose();
    }
  });
  return group;
}

/** Draws into `target`; `choose` is told the index of a certificate that is clicked. */
export function draw(target, { certificates, edges }, choose) {
  target.replaceChildren();
  if (certificates.length === 0) {
    return;
  }
  const { found, width, height } = places(certificates, edges);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
  // A little smaller where it then fits; beyond that it scrolls.
  picture.style.minWidth = `${width * 0.75}px`;
  const heads = svg("defs");
  for (const state of ["accepted", "rejected", "fits", "untried"]) {
    heads.append(
      svg("marker", { id: `head-${state}`, class: `head ${state}`, viewBox: "0 0 8 8", refX: 1, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto" },
        svg("path", { d: "M0 0L8 4L0 8Z" })),
    );
  }
  picture.append(heads);
  const order = ["untried", "fits", "rejected", "accepted"];
  for (const one of [...edges].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state))) {
    if (found[one.from] && found[one.to]) {
      picture.append(...edge(found[one.from], found[one.to], one));
    }
  }
  for (const [index, node] of certificates.entries()) {
    picture.append(box(node, found[index], () => choose(index)));
  }
  target.append(picture);
}
