import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { openEmbeddedLog, openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { batchCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS, WORK_GROUPS } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { PLANT, type SmallDeployment, smallDeployment, temporaryFolder } from "../../test/support/small-deployment.ts";
import { startStreamProcessor } from "../src/service.ts";

const loopback = { host: "127.0.0.1", port: 0 };
const logger = silentLogger();

const start = (log: Log, deployments: readonly SmallDeployment[], lingerMs: number) =>
  startStreamProcessor({
    log,
    logger,
    deployments: deployments.map(({ deployed }) => deployed.deployment),
    plants: deployments[0]!.registry,
    frames: loopback,
    scores: loopback,
    limits: { lingerMs, openPerKind: 4 },
    partitions: 1,
  });

/** Puts frames into the log, as ingress does. */
async function append(log: Log, small: SmallDeployment, gateway: string, sequences: readonly number[], laneOf = (i: number) => i) {
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions: 1 })));
  await log.append(
    sequences.map((sequence) => {
      const frame = small.frame(gateway, sequence, [{ lane: laneOf(sequence), features: small.window(sequence) }]);
      return { topic: LOG_TOPICS.frames, key: PLANT, value: small.encode(frame) };
    }),
  );
}

/** Ids of the frames in a batch. */
const partsOf = (value: Uint8Array) => batchCodec.decode(value).parts.map(({ gateway, sequence }) => `${gateway}${sequence}`);

/** Ids of the frames in each batch of the log, once there are `count` frames in them. */
async function batchesOf(log: Log, count: number): Promise<string[][]> {
  const records = await collect(log, LOG_TOPICS.batches, (all) => all.flatMap(({ value }) => partsOf(value)).length >= count);
  return records.map(({ value }) => partsOf(value));
}

async function lag(log: Log): Promise<number> {
  await using member = await log.join(WORK_GROUPS.streams.merging, [LOG_TOPICS.frames]);
  return await member.lag();
}

const never = 60_000;

it("reads frames again that were still waiting for company when it stopped, and merges them with those that came since", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  await append(log, small, "g", [0, 1]);
  {
    await using processor = await start(log, [small], never);
    while (processor.counters.merging.frames < 2) await nextTurn();
    expect(processor.counters.merging.batches).toBe(0);
  }
  await append(log, small, "h", [2, 3]);
  await using processor = await start(log, [small], 20);
  expect(await batchesOf(log, 4)).toEqual([["g0", "g1", "h2", "h3"]]);
  while (processor.counters.merging.batches < 1) await nextTurn();
  expect(processor.counters.merging).toEqual({ frames: 4, batches: 1, repeated: 0, skipped: 0 });
});

it("merges no frame twice after a stop whose frames all left in batches", async () => {
  using small = await smallDeployment();
  using folder = temporaryFolder();
  const path = join(folder.path, "log.db");
  {
    await using log = await openEmbeddedLog({ path, logger });
    await append(log, small, "g", [0, 1, 2]);
    await using processor = await start(log, [small], 0);
    await batchesOf(log, 3);
    while (processor.counters.merging.frames < 3) await nextTurn();
  }
  await using log = await openEmbeddedLog({ path, logger });
  expect(await lag(log)).toBe(0);
  await using _ = await start(log, [small], 0);
  await append(log, small, "g", [3]);
  expect((await batchesOf(log, 4)).flat()).toEqual(["g0", "g1", "g2", "g3"]);
});

it("holds back the commit of frames behind one that still waits, so that none is lost whichever left first", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  const { lanes } = small.deployed.deployment;
  // Frame 0 waits for company; behind it a frame of another kind that fills its ciphertext leaves at once.
  const full = { lane: 1, features: small.window(1) };
  await append(log, small, "g", [0]);
  const whole = small.frame(
    "h",
    1,
    [...Array(lanes).keys()].map((lane) => ({ ...full, lane })),
  );
  await log.append([{ topic: LOG_TOPICS.frames, key: PLANT, value: small.encode({ ...whole, jobId: "job", frameCount: 1 }) }]);
  {
    await using _ = await start(log, [small], never);
    expect(await batchesOf(log, 1)).toEqual([["h1"]]);
  }
  expect(await lag(log)).toBe(2);
  await using _ = await start(log, [small], 0);
  // h1 may come a second time, under its own id, rather than g0 never.
  const names = await collect(log, LOG_TOPICS.batches, (all) => all.some(({ value }) => partsOf(value).includes("g0")));
  expect([...new Set(names.flatMap(({ value }) => partsOf(value)))].sort()).toEqual(["g0", "h1"]);
});

it("passes over frames whose deployment was withdrawn, and merges those behind them", async () => {
  using small = await smallDeployment();
  using withdrawn = await smallDeployment({ keyMode: "symmetric" });
  await using log = await openTemporaryLog({ logger });
  await append(log, withdrawn, "w", [0]);
  await append(log, small, "g", [1, 2]);
  {
    await using processor = await start(log, [small], 0);
    expect((await batchesOf(log, 2)).flat()).toEqual(["g1", "g2"]);
    while (processor.counters.merging.frames < 3) await nextTurn();
    expect(processor.counters.merging.skipped).toBe(1);
  }
  expect(await lag(log)).toBe(0);
});

it("gives each batch the sum of its frames, which decrypts to every window in its lane", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  await append(log, small, "g", [0, 1, 2], (i) => 5 * i);
  await using _ = await start(log, [small], 50);
  const [record] = await collect(log, LOG_TOPICS.batches, (all) => all.length > 0);
  const batch = batchCodec.decode(record!.value);
  const alone = small.frame(
    "g",
    9,
    [0, 1, 2].map((i) => ({ lane: 5 * i, features: small.window(i) })),
  );
  // The scheme that does not encrypt: merged plaintexts are those of one frame with all the windows.
  expect(Buffer.from(batch.ciphertext)).toEqual(Buffer.from(alone.ciphertext));
  expect(batch.ciphertextHash).toBe(alone.ciphertextHash);
});
