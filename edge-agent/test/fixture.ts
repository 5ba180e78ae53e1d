import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { featureCount } from "@smile/features/feature-count";
import type { FeatureSet, LiftedWindow, Row } from "@smile/features/spec";
import { WindowStream } from "@smile/features/window-stream";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { decodeLanes } from "@smile/he/lanes";
import { plan } from "@smile/he/planner";
import { residueAt } from "@smile/he/residues";
import { decodeFull, decodeSeeded } from "@smile/he/wire";
import { frameCodec, gapCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument, paramsToDocument } from "@smile/schemas/params-document";
import { isPartSigned, signGap } from "@smile/schemas/signing";
import type { EdgeAgentConfig } from "../src/service.ts";
import type { Outgoing, SealedFrame, UnsignedGap } from "../src/spool.ts";
import type { EdgeStore } from "../src/store.ts";

const sensors = ["vibration", "heat"];
const lift = { kind: "degradation", averages: [0.3, 0.1], slopeRows: 4, baselineRows: 3, warmupRows: 2 } as const;
const width = featureCount({ sensors, lift, fourier: null });

/** A window per 100 ms; rows may come 150 ms out of order. */
export const featureSet: FeatureSet = {
  kind: "feature-set",
  version: 1,
  name: "test",
  sensors,
  window: { lengthMs: 200, hopMs: 100, latenessMs: 150 },
  regimes: null,
  lift,
  standardise: { mean: new Array<number>(width).fill(0), deviation: new Array<number>(width).fill(1), clip: 4 },
  fourier: null,
  quantise: { bits: 8 },
};

const weights = new Int32Array(width).fill(3);
const planned = plan({
  scheme: "identity",
  featureCount: width,
  featureBits: 8,
  heads: [{ weights: [weights], bias: [0] }],
  keyMode: "public",
  maxMerges: 8,
  modelPrivacy: "compact",
});

/** Fewer lanes than fit, so that a few machines fill more than one block. */
export const lanes = 4;
export const deployment: EdgeAgentConfig["deployment"] = { featureSet, params: paramsToDocument(planned.params), keyMode: "public", lanes };
/** The deployment as its document. */
export function deploymentDocument(keyMode: "public" | "symmetric") {
  const none = "0".repeat(64);
  const card = {
    kind: "model-card",
    version: 1,
    name: "test",
    headId: none,
    featureSetId: none,
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
  return { kind: "deployment", version: 1, ...deployment, keyMode, maxMerges: 1, cards: [card] };
}

/** The gateway's. */
export const signingKey = generateKeyPairSync("ed25519").privateKey;
export const machines = ["m0", "m1", "m2", "m3", "m4", "m5"];
/** Global lanes 2 to 7: machines 0 and 1 are in block 0, the others in block 1. */
export const lease = { firstLane: 2, machines };

export function agentConfig(storePath: string, changes: Partial<EdgeAgentConfig> = {}): EdgeAgentConfig {
  return {
    plant: "plant",
    gateway: "gateway-1",
    deployment,
    lease,
    key: { keyId: "ab".repeat(32), bytes: IDENTITY_KEY },
    signingKey,
    storePath,
    lingerMs: 60_000,
    commitMs: 5,
    retryMs: 5,
    ...changes,
  };
}

/** A frame of any bytes, as it goes into a store: one window that ended as many seconds in as its sequence. */
export function aFrame(sequence: number, size = 8): SealedFrame {
  return { sequence, envelope: new Uint8Array(size).fill(sequence), windows: 1, frameTimeMs: 1000 * sequence };
}

/** What a store would send, in order, without sending it: from here on all of it is under way. */
export function takeAll(store: EdgeStore): Outgoing[] {
  const items: Outgoing[] = [];
  for (;;) {
    const item = store.peek({ from: 0, gapsFrom: 0, before: Number.MAX_SAFE_INTEGER });
    if (item === undefined) return items;
    items.push(store.take(item));
  }
}

/** The frames among them, as they are sent. */
export function envelopesOf(items: readonly Outgoing[]): Uint8Array[] {
  return items.flatMap((item) => (item.kind === "frame" ? [item.envelope] : []));
}

/** The gaps among them. */
export function gapsOf(items: readonly Outgoing[]): UnsignedGap[] {
  return items.flatMap((item) => (item.kind === "gap" ? [item.gap] : []));
}

/** Signs gaps as an agent does. */
export const gapSealer = { sealGap: (gap: UnsignedGap) => gapCodec.encode(signGap(gap, signingKey)) };

/** Acknowledges sequences and takes them off the disk. */
export function removeFrom(store: EdgeStore, ...sequences: readonly number[]): void {
  for (const sequence of sequences) store.acknowledge(sequence);
  store.removeAcknowledged();
}

export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), "smile-edge-"));
}

/** A number in [0, 1) from a seed: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Rows of all machines, steps of 50 ms, a little out of order. */
export function someRows(steps: number, seed = 1): Row[] {
  const random = randomFrom(seed);
  const rows: { at: number; row: Row }[] = [];
  for (let step = 1; step <= steps; step++) {
    for (const machine of machines) {
      const timeMs = 1_700_000_000_000 + step * 50;
      const values = { vibration: random() * 2 - 1, heat: random() * 4 };
      rows.push({ at: step + random() * 1.8, row: { machine, timeMs, values } });
    }
  }
  return rows.toSorted((a, b) => a.at - b.at).map(({ row }) => row);
}

/** What the plant sees of a frame under the identity scheme. */
export type OpenedFrame = {
  id: string;
  epoch: number;
  sequence: number;
  block: number;
  frameTimeMs: number;
  windows: { lane: number; features: number[] }[];
};

/** @throws {Error} when none of the keys signed it */
export function openFrame(envelope: Uint8Array, signers: readonly KeyObject[] = [signingKey]): OpenedFrame {
  const frame = frameCodec.decode(envelope);
  if (!isPartSigned(frame, frame, signers)) throw new Error(`frame ${frame.sequence} is not signed by its gateway`);
  const params = paramsFromDocument(deployment.params);
  const { c0 } = frame.keyMode === "public" ? decodeFull(params, frame.ciphertext) : decodeSeeded(params, frame.ciphertext);
  const integer = (i: number) => {
    const residue = residueAt(c0, i);
    return Number(residue > params.q / 2n ? residue - params.q : residue);
  };
  const windows = decodeLanes(frame.lanes, lanes).map((lane) => ({
    lane,
    features: Array.from({ length: width }, (_, f) => integer(lane * width + f)),
  }));
  const { gateway, epoch, sequence, block, frameTimeMs } = frame;
  return { id: `${gateway}/${epoch}/${sequence}`, epoch, sequence, block, frameTimeMs, windows };
}

/** Windows as text, one per line: what two runs must have in common, whichever frames their windows came in. */
export function contentOf(frames: Iterable<OpenedFrame>): string[] {
  return [...frames]
    .flatMap(({ block, frameTimeMs, windows }) =>
      windows.map(({ lane, features }) => `${frameTimeMs} ${block * lanes + lane} ${features.join(",")}`),
    )
    .toSorted();
}

/** `contentOf` what an agent has to send for these rows, from the lift alone. */
export function expectedContent(rows: readonly Row[]): string[] {
  const stream = new WindowStream(featureSet);
  return [...rows.flatMap((row) => stream.push(row)), ...stream.flush()]
    .map(({ machine, endMs, features }) => `${endMs} ${lease.firstLane + machines.indexOf(machine)} ${features.join(",")}`)
    .toSorted();
}

export function aWindow(machine: string, endMs: number, mark = 0): LiftedWindow {
  return { machine, endMs, features: new Int32Array(width).fill(mark), clipped: 0 };
}
