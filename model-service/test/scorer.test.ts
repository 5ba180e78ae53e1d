import { setImmediate as nextTurn } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import { decodeLanes } from "@smile/he/lanes";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { type Batch, batchCodec, deadLetterCodec, type Score, scoreCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS, WORK_GROUPS } from "@smile/schemas/topics";
import { mergeToBatch } from "@smile/stream-processor/batch";
import { expect, it } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { PLANT, type SmallDeployment, smallDeployment } from "../../test/support/small-deployment.ts";
import { watchedLog } from "../../test/support/watched-log.ts";
import { type ModelServiceOptions, startModelService } from "../src/service.ts";

const logger = silentLogger();

const start = (log: Log, small: SmallDeployment, threads = 2, more: Partial<ModelServiceOptions> = {}) =>
  startModelService({
    ...{ log, logger, deployments: [small.served], plants: small.registry, signingKey: small.scoreSigner },
    ...{ partitions: 1, pool: { threads } },
    ...more,
  });

/** The windows of one batch: two gateways, as many lanes as asked for; different in every batch. */
function batchOf(small: SmallDeployment, sequence: number, windows = 2): Buffer {
  const entries = Array.from({ length: windows }, (_, lane) => ({ lane, features: small.window(1000 * sequence + lane) }));
  const half = Math.ceil(windows / 2);
  const frames = [entries.slice(0, half), entries.slice(half)].filter((own) => own.length > 0);
  return mergeToBatch(
    small.params,
    frames.map((own, g) => small.frame(`g${g}`, sequence, own)),
  );
}

async function append(log: Log, batches: readonly Uint8Array[]): Promise<void> {
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions: 1 })));
  await log.append(batches.map((value) => ({ topic: LOG_TOPICS.batches, key: PLANT, value })));
}

const spoiled = (batch: Buffer, change: Partial<Batch>) => batchCodec.encode({ ...batchCodec.decode(batch), ...change });
const sequenceOf = (score: Score) => score.parts[0]!.sequence;

async function scoresOf(log: Log, enough: (scores: readonly Score[]) => boolean): Promise<Score[]> {
  const decode = (records: readonly { value: Uint8Array }[]) => records.map(({ value }) => scoreCodec.decode(value));
  return decode(await collect(log, LOG_TOPICS.scores, (records) => enough(decode(records))));
}

it("keeps scores in the order of their batches, however long each takes", async () => {
  using small = await smallDeployment({ scheme: "bgv" });
  await using log = await openTemporaryLog({ logger });
  await using models = await start(log, small);
  // From one lane to all of them: the later ones of a group are done first.
  const { lanes } = small.deployed.deployment;
  await append(
    log,
    Array.from({ length: 80 }, (_, sequence) => batchOf(small, sequence, sequence % 2 === 0 ? lanes : 1)),
  );
  const scores = await scoresOf(log, (all) => all.length >= 80);
  expect(scores.map(sequenceOf)).toEqual(Array.from({ length: 80 }, (_, sequence) => sequence));
  expect(models.counters).toMatchObject({ batches: 80, scores: 80, refused: {} });
});

it.each(["identity", "bgv"] as const)("scores a batch by every head of its feature set, exactly, scheme %s", async (scheme) => {
  using small = await smallDeployment({ scheme, headCount: 3 });
  await using log = await openTemporaryLog({ logger });
  await using _ = await start(log, small);
  await append(log, [batchOf(small, 1, 5), batchOf(small, 2, 5)]);
  const scores = await scoresOf(log, (all) => all.length >= 6);
  const heads = small.deployed.deployment.cards.map(({ headId }) => headId);
  expect(new Set(heads).size).toBe(3);
  expect(scores.map((score) => [sequenceOf(score), heads.indexOf(score.headId)])).toEqual([
    [1, 0],
    [1, 1],
    [1, 2],
    [2, 0],
    [2, 1],
    [2, 2],
  ]);
  const { lanes: total } = small.deployed.deployment;
  for (const score of scores) {
    const lanes = score.parts.flatMap((part) => decodeLanes(part.lanes, total)).sort((a, b) => a - b);
    expect(score.parts.map(({ gateway }) => gateway)).toEqual(["g0", "g1"]);
    const wanted = lanes.map((lane) => small.score(small.window(1000 * sequenceOf(score) + lane), heads.indexOf(score.headId)));
    expect(score.replies.map((reply) => small.decrypt(reply, lanes))).toEqual([wanted]);
  }
});

it("puts what it cannot score among the dead letters with its code, and scores the neighbours", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  const good = [0, 1, 2].map((sequence) => batchOf(small, sequence));
  const { ciphertext } = batchCodec.decode(good[0]!);
  const hostile: [code: string, value: Uint8Array][] = [
    ["KEY_UNKNOWN", spoiled(good[0]!, { keyId: "d".repeat(64) })],
    ["PLANT_UNKNOWN", spoiled(good[0]!, { plant: "another" })],
    ["PARAMS_UNKNOWN", spoiled(good[0]!, { paramsId: "a".repeat(64) })],
    ["FEATURE_SET_UNKNOWN", spoiled(good[0]!, { featureSetId: "b".repeat(64) })],
    ["FEATURE_SET_UNKNOWN", spoiled(good[0]!, { keyMode: "symmetric" })],
    ["PARAMS_UNKNOWN", spoiled(good[0]!, { scheme: "bgv" })],
    ["FRAME_WRONG_LENGTH", spoiled(good[0]!, { ciphertext: ciphertext.subarray(1) })],
    ["FRAME_WRONG_HASH", spoiled(good[0]!, { ciphertextHash: "c".repeat(64) })],
    ["FRAME_MALFORMED", Buffer.from("no batch")],
  ];
  await append(log, [good[0]!, ...hostile.map(([, value]) => value), good[1]!, good[2]!]);
  await using models = await start(log, small, 1);
  expect((await scoresOf(log, (all) => all.length >= 3)).map(sequenceOf)).toEqual([0, 1, 2]);
  const letters = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length >= hostile.length);
  expect(letters.map(({ value }) => deadLetterCodec.decode(value).code)).toEqual(hostile.map(([code]) => code));
  const refused: Record<string, number> = {};
  for (const [code] of hostile) refused[code] = (refused[code] ?? 0) + 1;
  expect(models.counters).toMatchObject({ batches: 3, scores: 3, refused });
});

it("scores the next batches while the log has not taken the last scores yet, and settles none before their scores are durable", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  await append(
    log,
    Array.from({ length: 80 }, (_, sequence) => batchOf(small, sequence)),
  );
  const gate = Promise.withResolvers<void>();
  const gated = watchedLog(log, ([record]) => (record!.topic === LOG_TOPICS.scores ? gate.promise : Promise.resolve()));
  await using models = await start(gated, small, 1);
  // Two readings of 32 batches: the one that waits to be appended, and the next; the third waits in the log.
  while (models.counters.batches < 64) await nextTurn();
  expect(await models.lag("streams")).toBe(80);
  gate.resolve();
  expect((await scoresOf(log, (all) => all.length >= 80)).map(sequenceOf)).toEqual(Array.from({ length: 80 }, (_, i) => i));
  while ((await models.lag("streams")) > 0) await nextTurn();
  expect(models.counters).toMatchObject({ batches: 80, scores: 80, refused: {} });
});

it("ends when the log takes no scores, and scores what was under way once it is started again", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  await append(
    log,
    Array.from({ length: 10 }, (_, sequence) => batchOf(small, sequence)),
  );
  let failed = false;
  const failing = watchedLog(log, async ([record]) => {
    if (record!.topic !== LOG_TOPICS.scores) return;
    failed = true;
    throw new PipelineError("LOG_UNAVAILABLE", "the disk is full");
  });
  {
    await using models = await start(failing, small, 1);
    await expect(models.done).rejects.toThrow(/LOG_UNAVAILABLE/);
    expect(failed).toBe(true);
  }
  await using _ = await start(log, small, 1);
  expect((await scoresOf(log, (all) => all.length >= 10)).map(sequenceOf)).toEqual(Array.from({ length: 10 }, (_, i) => i));
});

it("goes on behind what it has scored when it is started again, and repeats nothing that it settled", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  await append(log, [batchOf(small, 0), batchOf(small, 1)]);
  {
    await using _ = await start(log, small, 1);
    await scoresOf(log, (all) => all.length >= 2);
  }
  await using member = await log.join(WORK_GROUPS.streams.scoring, [LOG_TOPICS.batches]);
  expect(await member.lag()).toBe(0);
  await member[Symbol.asyncDispose]();
  await using _ = await start(log, small, 1);
  await append(log, [batchOf(small, 2)]);
  expect((await scoresOf(log, (all) => all.some((score) => sequenceOf(score) === 2))).map(sequenceOf)).toEqual([0, 1, 2]);
});
