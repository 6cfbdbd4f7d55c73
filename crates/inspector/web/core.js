// Asks the worker. One that does not answer in time, or breaks, is replaced by a new one.
const SECONDS = 20;

let worker;
let sequence = 0;
const waiting = new Map();
let settle;
/** Bytes of one field at the most. */
export const fieldBytes = new Promise((resolve, reject) => (settle = { resolve, reject }));

function start() {
  worker = new Worker("./worker.js", { type: "module" });
  worker.addEventListener("message", ({ data }) => {
    if (data.ready) {
      settle.resolve(data.ready);
    } else if (data.id === undefined) {
      settle.reject(new Error(data.broken));
    } else {
      const { resolve, timer } = waiting.get(data.id) ?? {};
      waiting.delete(data.id);
      clearTimeout(timer);
      if (data.broken) {
        restart();
      }
      resolve?.(data.answer ?? failed(`This could not be judged: ${data.broken}.`));
    }
  });
  worker.addEventListener("error", (event) => {
    settle.reject(new Error(event.message ?? "the worker does not load"));
  });
}

function failed(sentence) {
  return { problem: { field: "state", sentence } };
}

function restart() {
  worker.terminate();
  for (const { resolve, timer } of waiting.values()) {
    clearTimeout(timer);
    resolve(failed("This could not be judged."));
  }
  waiting.clear();
  start();
}

/** Calls an exported function; gives its JSON, or `problem`. */
export function ask(name, ...parameters) {
  return new Promise((resolve) => {
    const id = ++sequence;
    const timer = setTimeout(() => {
      waiting.delete(id);
      resolve(failed(`This took longer than ${SECONDS} seconds and was stopped.`));
      restart();
    }, SECONDS * 1000);
    waiting.set(id, { resolve, timer });
    worker.postMessage({ id, name, parameters });
  });
}

start();
