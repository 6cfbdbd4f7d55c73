// Runs the WebAssembly module, so that nothing that is pasted can hold up the page.
import init, { admit, fieldBytes, fromFragment, inspect, timeline, toFragment } from "./inspector.js";

const calls = { admit, fromFragment, inspect, timeline, toFragment };

// Stored compressed, for servers that do not compress. One that does hands it over unpacked.
async function load() {
  const response = await fetch("./inspector_bg.wasm.gz");
  if (!response.ok) {
    throw new Error(`inspector_bg.wasm.gz: status ${response.status}`);
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (!packed) {
    return bytes;
  }
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).arrayBuffer();
}

const ready = load().then((bytes) => init({ module_or_path: bytes }));
ready.then(
  () => postMessage({ ready: fieldBytes() }),
  (error) => postMessage({ broken: String(error.message ?? error) }),
);

addEventListener("message", async ({ data: { id, name, parameters } }) => {
  try {
    await ready;
    postMessage({ id, answer: JSON.parse(calls[name](...parameters)) });
  } catch (error) {
    postMessage({ id, broken: String(error.message ?? error) });
  }
});
