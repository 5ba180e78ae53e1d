/**
 * Many plants in one process: their gateways, each a client of its own that sends its machine's window again and again, and their consoles,
 * each with the product's delivery loop; those of a sample of plants decrypt, and check each score. `node plants-process.ts FOLDER OPTIONS`:
 * writes registers and `plants.json` into FOLDER, then does what the parent says by IPC.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createHistogram } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { openDecryptor, type ReplyDecryptor } from "@smile/custody/decryptor";
import { openMqttFrameSender } from "@smile/edge-agent/mqtt-frame-sender";
import { decodeLanes } from "@smile/he/lanes";
import { integerScores } from "@smile/model-service/training/quantise-head";
import { startDeliveryLoop } from "@smile/plant-console/delivery-loop";
import { RareWarnings } from "@smile/plant-console/rare-warnings";
import { mqttScoreLink } from "@smile/plant-console/score-link";
import { createLogger } from "@smile/runtime/logging";
import { documentId } from "@smile/schemas/documents";
import { frameCodec, type Score, scoreCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { identityHash } from "@smile/schemas/plant-register";
import { signFrame } from "@smile/schemas/signing";
import { writeJson } from "./deployment.ts";
import { type LonePlant, makePlants } from "./many-plants.ts";
import { benchModel, type ModelOptions } from "./model.ts";

export type PlantsOptions = {
  readonly model: ModelOptions;
  readonly plants: number;
  readonly gatewaysPerPlant: number;
  /** Plants that fetch their scores, each by a connection of its own; fewer than all where a process may not open that many files. */
  readonly consoles: number;
  /** Plants whose scores are decrypted and compared with the integer head's. */
  readonly sample: number;
};

/** What the parent says. */
export type PlantsOrder =
  | { readonly connect: { readonly frames: string; readonly scores: string } }
  | { readonly windowsPerSecond: number }
  | { readonly figures: true };

/** What came since the last time of asking; latencies from a window closed to its score stored at its console. */
export type PlantsFigures = {
  readonly sent: number;
  readonly acknowledged: number;
  /** Windows whose scores were stored, and the ciphertexts that they came in. */
  readonly scores: number;
  readonly ciphertexts: number;
  readonly checked: number;
  readonly wrong: number;
  readonly refused: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};

const [folder, optionsText] = process.argv.slice(2) as [string, string];
const options = JSON.parse(optionsText) as PlantsOptions;
const logger = createLogger({ service: "plants", level: "warn" });
const { deployment, heads } = benchModel(options.model);
const headsById = new Map(heads.map((head) => [documentId(head), head]));
const params = paramsFromDocument(deployment.params);
const plants: LonePlant[] = [];
const decryptors = new Map<string, ReplyDecryptor>();
const width = params.n / deployment.lanes;

mkdirSync(join(folder, "registers"), { recursive: true });
const pinned: { register: string; identity: string }[] = [];
for await (const made of makePlants({ ...options, deployment, params, keyMode: options.model.keyMode })) {
  const { plant, identity } = made.register;
  if (plants.length % Math.ceil(options.plants / options.sample) === 0) {
    for (const [keyId, secretKey] of made.secretKeys) {
      decryptors.set(keyId, await openDecryptor(params, secretKey, width, deployment.replies));
    }
  }
  const path = resolve(folder, "registers", `${plant}.json`);
  writeFileSync(path, JSON.stringify(made.register));
  pinned.push({ register: path, identity: identityHash(identity) });
  // The text of a register is as large as all else of the plant.
  plants.push({ ...made, register: { ...made.register, keys: [] } });
}
writeJson(join(folder, "plants.json"), pinned);

const machines = plants.flatMap((plant) => plant.gateways.map((gateway) => ({ plant, gateway, sequence: 0 })));
const senders: ReturnType<typeof openMqttFrameSender>[] = [];
const latency = createHistogram({ lowest: 1, highest: 3_600_000, figures: 3 });
const counts = { sent: 0, acknowledged: 0, scores: 0, ciphertexts: 0, checked: 0, wrong: 0, refused: 0 };
const never = new AbortController().signal;
let windowsPerSecond = 0;

process.on("SIGTERM", () => process.exit(0));
process.on("disconnect", () => process.exit(0));
process.on("message", (order: PlantsOrder) => {
  if ("connect" in order) void connect(order.connect).then(() => process.send?.({ connected: senders.length }));
  else if ("windowsPerSecond" in order) windowsPerSecond = order.windowsPerSecond;
  else {
    const figures = { ...counts, p50Ms: latency.percentile(50), p99Ms: latency.percentile(99), maxMs: latency.max };
    process.send?.(figures satisfies PlantsFigures);
    latency.reset();
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] = 0;
  }
});
process.send?.({ ready: true });

async function connect({ frames, scores }: { frames: string; scores: string }): Promise<void> {
  await inGroups(plants.slice(0, options.consoles), (plant) => openConsole(plant, scores));
  await inGroups(machines, ({ gateway: { frame } }) => {
    const { promise, resolve: connected } = Promise.withResolvers<void>();
    senders.push(openMqttFrameSender({ url: frames, plant: frame.plant, gateway: frame.gateway, logger, onConnected: connected }));
    return promise;
  });
  void sendSteadily();
}

/** A listener takes so many new connections at once, and no more. */
async function inGroups<T>(all: readonly T[], open: (each: T) => Promise<void>): Promise<void> {
  for (let i = 0; i < all.length; i += 64) await Promise.all(all.slice(i, i + 64).map(open));
}

/** The consoles' side of the wire; what a console does with its scores beyond that is measured elsewhere. */
async function openConsole({ register, gateways }: LonePlant, url: string): Promise<void> {
  const { promise, resolve: connected } = Promise.withResolvers<void>();
  const { plant } = register;
  const link = mqttScoreLink({ url, plant, logger });
  startDeliveryLoop<Score>({
    plant,
    openLink: ({ onConnected, onDelivery }) =>
      link({
        onDelivery,
        onConnected: () => {
          onConnected();
          connected();
        },
      }),
    cursor: { topicId: null, partition: null, next: null },
    read: ({ score }) => ({ kind: "read", value: scoreCodec.decode(score) }),
    store: (read) => () => {
      for (const score of read) stored(score, gateways);
    },
    counts: { add: () => {}, addRefused: () => counts.refused++ },
    warnings: new RareWarnings(logger),
    logger,
  });
  await promise;
}

function stored(score: Score, gateways: LonePlant["gateways"]): void {
  const nowMs = Date.now();
  for (const { closedAtMs } of score.parts) latency.record(Math.max(1, nowMs - closedAtMs));
  counts.scores += score.parts.length;
  counts.ciphertexts++;
  const decryptor = decryptors.get(score.keyId);
  if (decryptor === undefined) return;
  const head = headsById.get(score.headId)!;
  const laneOf = (part: Score["parts"][number]) => decodeLanes(part.lanes, deployment.lanes)[0]!;
  const parts = score.parts.toSorted((a, b) => laneOf(a) - laneOf(b));
  const values = decryptor.decrypt(score.replies[0]!, parts.map(laneOf));
  parts.forEach(({ gateway }, i) => {
    const { features } = gateways.find(({ frame }) => frame.gateway === gateway)!;
    counts.checked++;
    if (values[i] !== integerScores(head, features)[0]!) counts.wrong++;
  });
}

/** One machine after the other, evenly over time. */
async function sendSteadily(): Promise<void> {
  let next = 0;
  let due = 0;
  for (let beforeMs = performance.now(); ; ) {
    await delay(10);
    const nowMs = performance.now();
    due += (windowsPerSecond * (nowMs - beforeMs)) / 1000;
    beforeMs = nowMs;
    for (; due >= 1; due--, next = (next + 1) % machines.length) send(next);
  }
}

function send(index: number): void {
  const machine = machines[index]!;
  const { gateway } = machine;
  const closedAtMs = Date.now();
  const frame = signFrame({ ...gateway.frame, sequence: machine.sequence++, frameTimeMs: closedAtMs, closedAtMs }, gateway.signingKey);
  counts.sent++;
  void senders[index]!.send(frameCodec.encode(frame), never).then(() => counts.acknowledged++);
}
