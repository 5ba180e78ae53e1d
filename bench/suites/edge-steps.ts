import { hash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zeroCounters } from "@smile/edge-agent/counters";
import { EnvelopeSealer } from "@smile/edge-agent/envelope-sealer";
import { frameFormat } from "@smile/edge-agent/frame-format";
import { laneMap } from "@smile/edge-agent/lane-map";
import { EdgeStore } from "@smile/edge-agent/store";
import { WindowPipeline } from "@smile/edge-agent/window-pipeline";
import { FeatureEncoder } from "@smile/features/feature-encoder";
import { LiftStream } from "@smile/features/lift-stream";
import type { FeatureSet } from "@smile/features/spec";
import { packLanes } from "@smile/he/lanes";
import { openEncryptor } from "@smile/he/open";
import type { KeyMode } from "@smile/he/params";
import { frameCodec } from "@smile/schemas/envelopes";
import { paramsToDocument } from "@smile/schemas/params-document";
import { signFrame } from "@smile/schemas/signing";
import { type Case, difference, dividedBy, type Samples } from "../harness/sampling.ts";
import { type EDGE_FEATURE_SETS, endlessRows, ROWS_PER_WINDOW } from "./edge-features.ts";
import { allLanes, encryptedWindows } from "./encrypted-windows.ts";

/** Rows after which a machine's state has its full size. */
const ROWS_LIVED = 60;
/** Steps that add up to a window, in their order. */
export const EDGE_STEPS = ["window", "lift", "quantise", "encrypt", "sign", "spool", "keep state"] as const;

/** The edge's work for one feature set and key mode. Dispose of it. */
export type EdgeSteps = Disposable & {
  readonly lanes: number;
  readonly cases: readonly Case[];
  /** Steps per window, "frame" and "whole window", out of the samples of the cases. */
  derive(samples: ReadonlyMap<string, Samples>): Map<string, Samples>;
};

/**
 * Opens the way of windows from rows to the durable spool, with one machine in every lane of a ciphertext.
 */
export async function openEdgeSteps(
  { featureSet, featureCount }: (typeof EDGE_FEATURE_SETS)[number],
  keyMode: KeyMode,
): Promise<EdgeSteps> {
  using opened = new DisposableStack();
  const windows = opened.use(await encryptedWindows({ featureCount, keyMode }, 1));
  const { params, lanes } = windows.plan;
  const key = { keyId: windows.keys.keyId, bytes: keyMode === "public" ? windows.keys.publicKey : windows.keys.secretKey };
  const encryptor = opened.use(await openEncryptor(params, { mode: keyMode, bytes: key.bytes }));
  const format = frameFormat("steelworks-north", { featureSet, params: paramsToDocument(params), keyMode, lanes });
  const sealer = opened.use(
    await EnvelopeSealer.open(format, { key, signingKey: windows.signingKey, versions: { frame: frameCodec.versions.at(-1)!, gap: 1 } }),
  );
  const folder = mkdtempSync(join(tmpdir(), "smile-bench-"));
  opened.defer(() => rmSync(folder, { recursive: true, force: true }));
  const owner = { plant: "steelworks-north", gateway: "hall-3", featureSetId: format.kind.featureSetId };
  const store = opened.use(new EdgeStore(join(folder, "spool.sqlite"), owner));
  const pipelineStore = opened.use(new EdgeStore(join(folder, "pipeline.sqlite"), owner));

  const frame = windows.frame(1, allLanes(windows.plan));
  const { signature: _, ...unsigned } = frame;
  const entries = allLanes(windows.plan).map((lane) => ({ lane, features: new Int32Array(featureCount).fill(lane - 16) }));
  const envelope = windows.encode(frame);
  const encoder = new FeatureEncoder(featureSet);
  const lifted = Float64Array.from({ length: featureSet.standardise.mean.length }, (_, i) => Math.sin(i));
  const features = new Int32Array(featureCount);
  const machines = entries.map(({ lane }) => `machine ${lane}`);
  const lived = new LiftStream(featureSet, () => {});
  const livedRow = endlessRows(featureSet, machines);
  for (let i = 0; i < ROWS_LIVED * machines.length; i++) lived.push(livedRow());
  const neverDue = { ...featureSet, window: { ...featureSet.window, hopMs: Number.MAX_SAFE_INTEGER } };
  const pipeline = new WindowPipeline(
    {
      gateway: owner.gateway,
      featureSet,
      places: laneMap({ firstLane: 0, machines }, lanes),
      rule: { lingerMs: 1000, largestOpenEnds: 4 },
      sealer,
      store: pipelineStore,
      counters: zeroCounters(),
      now: Date.now,
      hooks: {},
    },
    0,
  );
  const nextRow = endlessRows(featureSet, machines);
  const cases: Case[] = [
    { name: "rows", perCall: lanes, run: rowsInto(neverDue, machines) },
    { name: "rows and lift", perCall: lanes, run: rowsInto(featureSet, machines) },
    { name: "quantise", run: () => encoder.encode(lifted, features) },
    { name: "encrypt", perCall: lanes, run: () => encryptor.encrypt(packLanes(entries, params.n, featureCount)) },
    {
      name: "sign",
      perCall: lanes,
      run: () => frameCodec.encode(signFrame({ ...unsigned, ciphertextHash: hash("sha256", unsigned.ciphertext) }, windows.signingKey)),
    },
    {
      name: "spool",
      perCall: lanes,
      run: () => {
        const sealed = { sequence: store.nextSequence, envelope, windows: lanes, frameTimeMs: 0 };
        store.commit({ frames: [sealed], states: [], opened: [], closed: [] });
        sendAll(store);
      },
    },
    {
      name: "keep state",
      perCall: lanes,
      run: () => {
        const states = machines.map((machine) => ({
          machine,
          snapshot: JSON.stringify(lived.snapshot(machine)),
          lastRowMs: 0,
          arrivedMs: null,
        }));
        store.commit({ frames: [], states, opened: [], closed: [] });
      },
    },
    {
      name: "whole window",
      perCall: lanes,
      run: () => {
        const sequence = pipelineStore.nextSequence;
        while (pipeline.sealedFrames === 0) pipeline.take(nextRow(), 0);
        pipeline.commit();
        sendAll(pipelineStore);
        if (pipelineStore.nextSequence !== sequence + 1) throw new Error("a commit did not hold one frame");
      },
    },
  ];
  const owned = opened.move();
  return {
    lanes,
    cases,
    derive(samples) {
      const of = (name: string) => samples.get(name)!;
      return new Map([
        ["window", of("rows")],
        ["lift", difference(of("rows and lift"), of("rows"))],
        ["quantise", of("quantise")],
        ["encrypt", of("encrypt")],
        ["sign", of("sign")],
        ["spool", of("spool")],
        ["keep state", of("keep state")],
        ["whole window", of("whole window")],
        ["whole frame", dividedBy(of("whole window"), 1 / lanes)],
      ]);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** Reads frames out of the spool as the publisher does, and has them acknowledged, so that the spool stays short. */
function sendAll(store: EdgeStore): void {
  for (let item = store.peek(EVERYTHING); item !== undefined; item = store.peek(EVERYTHING)) {
    store.take(item);
    store.acknowledge(item.sequence);
  }
}
const EVERYTHING = { from: 0, gapsFrom: 0, before: Number.MAX_SAFE_INTEGER };

/** Each call takes the rows between two windows of every machine. */
function rowsInto(spec: FeatureSet, machines: readonly string[]): () => void {
  const stream = new LiftStream(spec, () => {});
  const nextRow = endlessRows(spec, machines);
  return () => {
    for (let i = 0; i < ROWS_PER_WINDOW * machines.length; i++) stream.push(nextRow());
  };
}
