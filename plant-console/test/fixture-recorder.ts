import { connect, createServer } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

/**
 * A thread between a console and its broker: passes everything on, and keeps what the console sent. It goes on while the console's own
 * thread is blocked, and tells through shared memory which cursor it has seen last.
 */
export type RecorderData = { readonly brokerPort: number; readonly seen: SharedArrayBuffer };
export type RecorderMessage = { readonly port: number } | { readonly sent: readonly Uint8Array[] };

const { brokerPort, seen } = workerData as RecorderData;
const newest = new Int32Array(seen);
/** Per connection. */
const sent: Buffer[][] = [];

const server = createServer((console) => {
  const chunks: Buffer[] = [];
  sent.push(chunks);
  const broker = connect(brokerPort, "127.0.0.1");
  console.setNoDelay(true);
  broker.setNoDelay(true);
  console.on("data", (chunk) => {
    chunks.push(chunk);
    for (const [, next] of chunk.toString("latin1").matchAll(/"next":(\d+)/g)) Atomics.store(newest, 0, Number(next));
    Atomics.notify(newest, 0);
  });
  console.pipe(broker).pipe(console);
  console.on("error", () => broker.destroy());
  broker.on("error", () => console.destroy());
  console.on("close", () => parentPort!.postMessage({ sent: sent.map((each) => Buffer.concat(each)) } satisfies RecorderMessage));
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null) parentPort!.postMessage({ port: address.port } satisfies RecorderMessage);
});
