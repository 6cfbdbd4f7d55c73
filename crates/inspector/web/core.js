// Asks the worker. One that does not answer in time, or breaks, is replaced by a new one.
const SECONDS = 20;

let worker;
let loaded = false;
let broken = "";
let sequence = 0;
let timer;
/** What is not answered, the oldest first; the worker keeps this order. */
const waiting = new Map();
let settle;
/** Bytes of one field at the most. */
export const fieldBytes = new Promise((resolve, reject) => (settle = { resolve, reject }));

function start() {
  const mine = new Worker("./worker.js", { type: "module" });
  worker = mine;
  loaded = false;
  broken = "";
  mine.addEventListener("message", ({ data }) => {
    // One that was replaced may still have said something.
    if (mine !== worker) {
      return;
    }
    if (data.ready) {
      loaded = true;
      settle.resolve(data.ready);
      watch();
    } else if (data.id === undefined) {
      fail(data.broken);
    } else if (data.broken) {
      restart(data.id, `This could not be judged: ${data.broken}.`);
    } else {
      answer(data.id, data.answer);
      watch();
    }
  });
  mine.addEventListener("error", (event) => {
    if (mine !== worker) {
      return;
    }
    const [head] = waiting.keys();
    if (loaded && head !== undefined) {
      restart(head, "This could not be judged.");
    } else {
      fail(event.message);
    }
  });
  for (const [id, { name, parameters }] of waiting) {
    mine.postMessage({ id, name, parameters });
  }
}

function answer(id, given) {
  const { resolve } = waiting.get(id) ?? {};
  waiting.delete(id);
  resolve?.(given);
}

function failed(sentence) {
  return { problem: { field: "state", sentence } };
}

/** No worker: nothing that waits would ever be answered. The next question tries again. */
function fail(why) {
  broken = why || "the worker does not load";
  worker.terminate();
  clearTimeout(timer);
  settle.reject(new Error(broken));
  for (const id of [...waiting.keys()]) {
    answer(id, failed(`The page cannot work: ${broken}.`));
  }
}

/** Only the one to blame goes without an answer; the others are asked again. */
function restart(id, sentence) {
  clearTimeout(timer);
  worker.terminate();
  answer(id, failed(sentence));
  start();
}

/** Runs for the one that is being worked on, not for those behind it, and not while the module loads. */
function watch() {
  clearTimeout(timer);
  const [head] = waiting.keys();
  if (loaded && head !== undefined) {
    timer = setTimeout(() => restart(head, `This took longer than ${SECONDS} seconds and was stopped.`), SECONDS * 1000);
  }
}

/** Calls an exported function; gives its JSON, or `problem`. */
export function ask(name, ...parameters) {
  return new Promise((resolve) => {
    const id = ++sequence;
    waiting.set(id, { resolve, name, parameters });
    if (broken) {
      start();
      return;
    }
    worker.postMessage({ id, name, parameters });
    if (waiting.size === 1) {
      watch();
    }
  });
}

start();
