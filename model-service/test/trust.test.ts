import { join } from "node:path";
import { openAuditLog, readAudit } from "@smile/runtime/audit-log";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { Metrics } from "@smile/runtime/metrics";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { documentId } from "@smile/schemas/documents";
import { publicHalf, verifyingKey } from "@smile/schemas/ed25519";
import { deadLetterCodec, type Score, scoreCodec } from "@smile/schemas/envelopes";
import { isPartSigned, isScoreSigned } from "@smile/schemas/signing";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { mergeToBatch } from "@smile/stream-processor/batch";
import { expect, it } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { PLANT, type SmallDeployment, smallDeployment, temporaryFolder } from "../../test/support/small-deployment.ts";
import { modelServiceMetrics } from "../src/metrics.ts";
import { type ModelServiceOptions, startModelService } from "../src/service.ts";

const logger = silentLogger();

const start = (log: Log, small: SmallDeployment, more: Partial<ModelServiceOptions> = {}) =>
  startModelService({
    ...{ log, logger, deployments: [small.served], plants: small.registry, signingKey: small.scoreSigner },
    ...{ partitions: 1, pool: { threads: 1 } },
    ...more,
  });

function batchOf(small: SmallDeployment, sequence: number): Buffer {
  const frames = ["g0", "g1"].map((gateway, lane) => small.frame(gateway, sequence, [{ lane, features: small.window(lane) }]));
  return mergeToBatch(small.params, frames);
}

async function append(log: Log, batches: readonly Uint8Array[]): Promise<void> {
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions: 1 })));
  await log.append(batches.map((value) => ({ topic: LOG_TOPICS.batches, key: PLANT, value })));
}

async function scoreBytes(log: Log, count: number): Promise<readonly Uint8Array[]> {
  return (await collect(log, LOG_TOPICS.scores, (records) => records.length >= count)).map(({ value }) => value);
}

it("signs every score over its replies and the parts that they answer, and keeps the gateways' signatures", async () => {
  using small = await smallDeployment({ headCount: 2 });
  await using log = await openTemporaryLog({ logger });
  await using _ = await start(log, small);
  await append(log, [batchOf(small, 1), batchOf(small, 2)]);
  const scores = (await scoreBytes(log, 4)).map((bytes) => scoreCodec.decode(bytes));
  const signers = [verifyingKey(publicHalf(small.scoreSigner))];
  const plant = small.registry.find(PLANT)!;
  for (const score of scores) {
    expect(isScoreSigned(score, signers)).toBe(true);
    expect(score.parts.map((part) => isPartSigned(score, part, plant.signersEver(part.gateway)))).toEqual([true, true]);
  }
  const [one, , two] = scores as [Score, Score, Score];
  // Another window's answer, another head's, or another order of the replies is not what was signed.
  const swapped = [
    { ...one, parts: two.parts },
    { ...one, replies: two.replies },
    { ...one, headId: scores[1]!.headId },
    { ...one, plant: "other" },
    { ...one, parts: one.parts.toReversed() },
  ];
  expect(swapped.map((score) => isScoreSigned(score, signers))).toEqual(swapped.map(() => false));
});

it("writes scores in the newest version that the plant's consoles read, and follows its register", async () => {
  using small = await smallDeployment();
  using registry = new FixedRegistry([small.plant.next({ reads: { score: [1], gap: [1], delivery: [1] } })]);
  await using log = await openTemporaryLog({ logger });
  await using models = await start(log, small, { plants: registry });
  await append(log, [batchOf(small, 1)]);
  await scoreBytes(log, 1);
  registry.replace(small.plant.next({ reads: { score: [1, 2, 77], gap: [1], delivery: [1] } }));
  await append(log, [batchOf(small, 2)]);
  await scoreBytes(log, 2);
  registry.replace(small.plant.next({ reads: { score: [77], gap: [1], delivery: [1] } }));
  await append(log, [batchOf(small, 3)]);
  const [letter] = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length >= 1);
  expect(deadLetterCodec.decode(letter!.value).code).toBe("VERSION_UNSUPPORTED");
  expect((await scoreBytes(log, 2)).map((bytes) => bytes[1])).toEqual([1, 2]);
  expect(models.counters).toMatchObject({ scores: 2, refused: { VERSION_UNSUPPORTED: 1 } });
});

it("keeps as many dead letters of a plant as its budget has, counts the rest, and scores on", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  const bad = Array.from({ length: 20 }, (_, i) => Buffer.from(`no batch ${i}`));
  await append(log, [...bad, batchOf(small, 1)]);
  const strangers = bad.map((value, i) => ({ topic: LOG_TOPICS.batches, key: `stranger ${i}`, value }));
  await log.append(strangers);
  await log.append([{ topic: LOG_TOPICS.batches, key: PLANT, value: batchOf(small, 2) }]);
  await using models = await start(log, small, { deadLettersPerHour: 3 });
  await scoreBytes(log, 2);
  const letters = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length >= 6);
  // All strangers together have one budget: a name costs nothing.
  expect(letters.map(({ key }) => key)).toEqual([...Array(3).fill(PLANT), "stranger 0", "stranger 1", "stranger 2"]);
  expect([models.counters.refused, models.deadLettersSuppressed()]).toEqual([{ FRAME_MALFORMED: 40 }, 34]);
  const metrics = new Metrics();
  metrics.add(modelServiceMetrics(models));
  expect(await metrics.figures()).toContainEqual({ name: "smile_model_service_dead_letters_suppressed_total", labels: {}, value: 34 });
});

it("records what it scores with and as whom, before it scores", async () => {
  using small = await smallDeployment({ headCount: 2 });
  using folder = temporaryFolder();
  await using log = await openTemporaryLog({ logger });
  const path = join(folder.path, "audit.db");
  using audit = openAuditLog({ path, actor: "model-service" });
  await using _ = await start(log, small, { audit });
  const { deployment, heads } = small.deployed;
  expect([...readAudit(path)]).toMatchObject([
    {
      action: "deployment-loaded",
      facts: {
        deploymentId: documentId(deployment),
        featureSetId: documentId(deployment.featureSet),
        headIds: heads.map((head) => documentId(head)).join(" "),
        modelPrivacy: "compact",
      },
    },
    { action: "service-started", facts: { deployments: 1, plants: 1, scoreSigner: publicHalf(small.scoreSigner) } },
  ]);
});
