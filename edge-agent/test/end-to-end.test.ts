import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { paramsId } from "@smile/he/params";
import { silentLogger } from "@smile/runtime/logging";
import { type Broker, startBroker } from "@smile/runtime/mqtt-broker";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { framesTopic } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { openMqttFrameSender } from "../src/mqtt-frame-sender.ts";
import { RowQueue } from "../src/row-queue.ts";
import { startEdgeAgent } from "../src/service.ts";
import {
  agentConfig,
  contentOf,
  deployment,
  expectedContent,
  lanes,
  lease,
  newFolder,
  type OpenedFrame,
  openFrame,
  someRows,
} from "./fixture.ts";

const logger = silentLogger();
const rows = someRows(40);

/** A plant's broker that remembers what it acknowledged, and may be slow, or gone for a while. */
class Ingress {
  readonly frames = new Map<string, OpenedFrame>();
  topics = new Set<string>();
  #broker: Broker | undefined;
  #port = 0;
  #waiting: { least: number; resolve: () => void }[] = [];

  async start(): Promise<string> {
    this.#broker = await startBroker({
      port: this.#port,
      logger,
      authorizePublish: async ({ topic, payload }) => {
        const frame = openFrame(payload);
        await new Promise((resolve) => setTimeout(resolve, 2)); // a slow log
        this.topics.add(topic);
        this.frames.set(frame.id, frame);
        for (const { least, resolve } of this.#waiting) if (this.frames.size >= least) resolve();
      },
    });
    this.#port = this.#broker.port;
    return this.#broker.url;
  }

  async stop(): Promise<void> {
    await this.#broker?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async atLeast(frames: number): Promise<void> {
    if (this.frames.size >= frames) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ least: frames, resolve });
    await promise;
  }
}

it("delivers every window through a broker with a slow hook that goes away and comes back", async () => {
  await using ingress = new Ingress();
  const url = await ingress.start();
  const source = new RowQueue({ capacity: 8, largestBatch: 4 });
  const truth: string[] = [];
  const openSender = async () =>
    openMqttFrameSender({ url, plant: "plant", gateway: "gateway-1", logger, reconnectMs: { first: 5, last: 20 } });
  await using agent = await startEdgeAgent(agentConfig(join(newFolder(), "edge.db"), { window: 4 }), { source, openSender }, logger, {
    onWindow: (window, _, lane, block) => truth.push(`${window.endMs} ${block * lanes + lane} ${window.features.join(",")}`),
  });
  for (const row of rows.slice(0, 120)) await source.push(row);
  await ingress.atLeast(3);
  await ingress.stop();
  for (const row of rows.slice(120)) await source.push(row);
  source.end();
  await ingress.start();
  await agent.done;

  expect([...ingress.topics]).toEqual([framesTopic("plant", "gateway-1")]);
  expect(contentOf(ingress.frames.values())).toEqual(truth.toSorted());
  expect(truth.length).toBe(agent.counters.windows);
  expect(agent.counters).toMatchObject({ rows: rows.length, framedWindows: truth.length, published: agent.counters.frames, late: 0 });
  expect(agent.counters.frames).toBe(ingress.frames.size);
  expect(agent.spool).toEqual({ frames: 0, bytes: 0 });
  expect(source.acknowledged).toBe(rows.length);
});

it("refuses to start where the broker cannot take the deployment's frames", async () => {
  const config = agentConfig(join(newFolder(), "edge.db"), { largestEnvelopeBytes: 2000 });
  const openSender = () => Promise.reject(new Error("not reached"));
  await expect(startEdgeAgent(config, { source: new RowQueue(), openSender }, logger)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

it("seals what waits longer than the linger, and refuses rows of machines without a lane", async () => {
  await using ingress = new Ingress();
  const url = await ingress.start();
  const source = new RowQueue();
  const openSender = async () => openMqttFrameSender({ url, plant: "plant", gateway: "gateway-1", logger });
  const config = agentConfig(join(newFolder(), "edge.db"), { lingerMs: 10, largestOpenEnds: 1000 });
  await using agent = await startEdgeAgent(config, { source, openSender }, logger);
  for (const row of rows.filter(({ machine }) => machine === "m0")) await source.push(row);
  await source.push({ ...rows[0]!, machine: "nobody" });
  await ingress.atLeast(10); // while the other machine of the block has not come and the source has not ended
  source.end();
  await agent.done;
  expect([...ingress.frames.values()].every(({ block, windows }) => block === 0 && windows.every(({ lane }) => lane === 2))).toBe(true);
  expect(agent.counters.refused.unknownMachine).toBe(1);
});

/** The files that `main.ts` needs, beside a telemetry file. */
function installAgent(url: string, source: object = { kind: "file", path: "rows.ndjson" }): string {
  const folder = newFolder();
  const put = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  const params = paramsFromDocument(deployment.params);
  const hash = "0".repeat(64);
  const card = {
    kind: "model-card",
    version: 1,
    name: "test",
    headId: hash,
    featureSetId: hash,
    outputs: ["risk"],
    scale: 1,
    calibration: null,
    link: "identity",
    range: null,
    unit: "cycles",
    alert: { direction: "below", raise: 1, clear: 2 },
    training: { data: "none", machines: 1, windows: 1, metrics: {} },
    codeVersion: "test",
  };
  put("deployment.json", { kind: "deployment", version: 1, ...deployment, keyMode: "symmetric", maxMerges: 1, cards: [card] });
  put("key.json", {
    kind: "gateway-secret-key",
    version: 1,
    plant: "plant",
    gateway: "gateway-1",
    paramsId: paramsId(params),
    keyId: hash,
    secretKey: Buffer.from(IDENTITY_KEY).toString("base64"),
  });
  chmodSync(join(folder, "key.json"), 0o600);
  writeFileSync(join(folder, "rows.ndjson"), `{broken\n${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
  put("edge.json", {
    plant: "plant",
    gateway: "gateway-1",
    deployment: "deployment.json",
    lease: { gateway: "gateway-1", ...lease },
    key: "key.json",
    mqtt: { url, window: 2 },
    store: "edge.db",
    source,
    lingerMs: 60_000,
  });
  return folder;
}

const runMain = (folder: string, ...more: string[]) => {
  const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
  return spawn(process.execPath, [main, "--config", join(folder, "edge.json"), ...more], { stdio: ["pipe", "ignore", "pipe"] });
};

it("as a process, killed in mid-delivery and started again, has delivered every window once", async () => {
  await using ingress = new Ingress();
  const folder = installAgent(await ingress.start());
  const killed = runMain(folder);
  killed.stderr.resume();
  await ingress.atLeast(5);
  killed.kill("SIGKILL");
  await once(killed, "exit");

  const second = runMain(folder);
  let log = "";
  second.stderr.on("data", (chunk) => {
    log += chunk;
  });
  expect(await once(second, "exit"), log).toEqual([0, null]);
  expect(contentOf(ingress.frames.values())).toEqual(expectedContent(rows));
  expect(new Set([...ingress.frames.values()].map(({ epoch }) => epoch)).size).toBe(1);
  expect(log).toContain('"line":1');
  expect(log).not.toContain("broken");
});

it("stops on SIGTERM while standard input is silent, and takes up the same rows again without repeating a window", async () => {
  await using ingress = new Ingress();
  const folder = installAgent(await ingress.start(), { kind: "stdin", atEnd: "flush" });
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`);
  const first = runMain(folder);
  first.stderr.resume();
  first.stdin.write(lines.slice(0, 150).join(""));
  await ingress.atLeast(3);
  first.kill("SIGTERM");
  expect(await once(first, "exit")).toEqual([0, null]);

  const second = runMain(folder);
  second.stderr.resume();
  second.stdin.end(lines.join(""));
  expect(await once(second, "exit")).toEqual([0, null]);
  expect(contentOf(ingress.frames.values())).toEqual(expectedContent(rows));
});

it("refuses a secret key that others may read, with exit code 78", async () => {
  const folder = installAgent("mqtt://127.0.0.1:1");
  chmodSync(join(folder, "key.json"), 0o644);
  const child = runMain(folder);
  let log = "";
  child.stderr.on("data", (chunk) => {
    log += chunk;
  });
  expect(await once(child, "exit")).toEqual([78, null]);
  expect(log).toContain("mode 0600");
});
