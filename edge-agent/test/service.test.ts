import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { featureCount } from "@smile/features/feature-count";
import { WindowStream } from "@smile/features/window-stream";
import { silentLogger } from "@smile/runtime/logging";
import { expect, it } from "vitest";
import { zeroCounters } from "../src/counters.ts";
import { EnvelopeSealer } from "../src/envelope-sealer.ts";
import { frameFormat } from "../src/frame-format.ts";
import { laneMap } from "../src/lane-map.ts";
import { RowQueue } from "../src/row-queue.ts";
import { type EdgeAgentConfig, startEdgeAgent } from "../src/service.ts";
import type { Dropped } from "../src/spool.ts";
import { type Commit, EdgeStore } from "../src/store.ts";
import { WindowPipeline } from "../src/window-pipeline.ts";
import {
  agentConfig,
  contentOf,
  deployment,
  envelopesOf,
  expectedContent,
  featureSet,
  lanes,
  lease,
  machines,
  newFolder,
  type OpenedFrame,
  openFrame,
  signingKey,
  someRows,
  takeAll,
} from "./fixture.ts";

const all = someRows(20);
/** One machine falls silent, so that windows of the others wait for it at the end. */
const rows = all.filter(({ machine }, i) => machine !== "m5" || i < all.length / 2);

/** Runs an agent over some rows until it ends by itself. */
async function run(config: EdgeAgentConfig, some = rows) {
  const frames: OpenedFrame[] = [];
  const source = new RowQueue({ capacity: some.length + 1 });
  for (const row of some) source.offer(row);
  source.end();
  const openSender = async () => ({
    send: async (envelope: Uint8Array) => void frames.push(openFrame(envelope)),
    [Symbol.asyncDispose]: async () => {},
  });
  await using agent = await startEdgeAgent(config, { source, openSender }, silentLogger());
  await agent.done;
  return { frames, counters: agent.counters };
}

const liftedWithoutFlush = () => {
  const stream = new WindowStream(featureSet);
  return rows.flatMap((row) => stream.push(row)).length;
};

it("keeps open windows at the end of a source that will go on, and sends them when it is drained", async () => {
  const storePath = join(newFolder(), "edge.db");
  const kept = await run(agentConfig(storePath, { atEnd: "keep" }));
  const drained = await run(agentConfig(storePath, { atEnd: "seal" }), []);
  expect(drained.counters.framedWindows).toBeGreaterThan(0);
  expect(kept.counters.framedWindows + drained.counters.framedWindows).toBe(liftedWithoutFlush());
  const flushed = await run(agentConfig(storePath), []);
  expect(contentOf([...kept.frames, ...drained.frames, ...flushed.frames])).toEqual(expectedContent(rows));
});

it("counts the open windows of a machine that left the lease, and does not put them into another's lane", async () => {
  const storePath = join(newFolder(), "edge.db");
  const alone = rows.filter(({ machine }) => machine === "m5");
  const kept = await run(agentConfig(storePath, { atEnd: "keep", largestOpenEnds: 1000 }), alone);
  expect(kept.frames).toEqual([]);
  const shorter = { ...lease, machines: machines.slice(0, 5) };
  const { counters, frames } = await run(agentConfig(storePath, { lease: shorter, atEnd: "seal" }), []);
  expect(counters.abandoned).toBe(kept.counters.windows);
  expect(frames).toEqual([]);
  expect((await run(agentConfig(storePath, { lease: shorter }), [])).counters.abandoned).toBe(0);
});

it("starts a machine anew when its stored state is of another lift", async () => {
  const storePath = join(newFolder(), "edge.db");
  await run(agentConfig(storePath));
  const other = { ...featureSet, name: "other", window: { ...featureSet.window, latenessMs: 100 } };
  const { counters } = await run(agentConfig(storePath, { deployment: { ...deployment, featureSet: other } }));
  expect(counters).toMatchObject({ replayed: 0, rows: rows.length });
  expect(counters.windows).toBeGreaterThan(0);
});

it("refuses a deployment with more lanes than the ciphertext has room for", async () => {
  const config = agentConfig(join(newFolder(), "edge.db"), { deployment: { ...deployment, lanes: 4096 } });
  await expect(run(config)).rejects.toMatchObject({ code: "DOCUMENT_INVALID" });
});

it("loses and repeats nothing when the disk is full for a while", async () => {
  class FullForAWhile extends EdgeStore {
    failures = 0;
    override commit(commit: Commit): Dropped {
      if (this.failures++ % 3 !== 2) throw new PipelineError("STORE_UNAVAILABLE", "disk full");
      return super.commit(commit);
    }
  }
  const format = frameFormat("plant", deployment);
  expect(format.featureCount).toBe(featureCount(featureSet));
  using store = new FullForAWhile(join(newFolder(), "edge.db"), {
    plant: "plant",
    gateway: "gateway-1",
    featureSetId: format.kind.featureSetId,
  });
  const { key } = agentConfig("");
  using sealer = await EnvelopeSealer.open(format, { key, signingKey, versions: { frame: 1, gap: 1 } });
  const told: string[] = [];
  const pipeline = new WindowPipeline(
    {
      gateway: "gateway-1",
      featureSet,
      places: laneMap(lease, lanes),
      rule: { lingerMs: 1000, largestOpenEnds: 4 },
      sealer,
      store,
      counters: zeroCounters(),
      now: () => 1_700_000_000_000,
      hooks: { onWindow: (window, { sequence }, lane) => told.push(`${sequence} ${lane} ${window.endMs}`) },
    },
    0,
  );
  const tryCommit = () => {
    try {
      pipeline.commit();
      return true;
    } catch {
      return false;
    }
  };
  for (const row of rows) {
    pipeline.take(row, 0);
    tryCommit();
  }
  pipeline.flush(0);
  pipeline.sealAll();
  while (!tryCommit());
  const frames = envelopesOf(takeAll(store)).map((envelope) => openFrame(envelope));
  expect(contentOf(frames)).toEqual(expectedContent(rows));
  expect(told).toEqual(
    frames.flatMap(({ sequence, frameTimeMs, windows }) => windows.map(({ lane }) => `${sequence} ${lane} ${frameTimeMs}`)),
  );
  expect(store.openWindows()).toEqual([]);
});
