import { setImmediate as nextTurn } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { deadLetterCodec, frameCodec, type Gap, gapCodec } from "@smile/schemas/envelopes";
import { framesTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { PLANT, smallDeployment } from "../../test/support/small-deployment.ts";
import { watchedLog } from "../../test/support/watched-log.ts";
import { startStreamProcessor } from "../src/service.ts";

const loopback = { host: "127.0.0.1", port: 0 };
const logger = silentLogger();

async function start(log: Log, small: Awaited<ReturnType<typeof smallDeployment>>) {
  return startStreamProcessor({
    log,
    logger,
    deployments: [small.deployed.deployment],
    frames: loopback,
    scores: loopback,
    limits: { lingerMs: 20, openPerKind: 4 },
    partitions: 1,
  });
}

it("acknowledges a frame once it is durable in the log and not before, and a refused one once its dead letter is", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  const held: { topic: string; release: () => void }[] = [];
  const slow = watchedLog(log, async ([record]) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    held.push({ topic: record!.topic, release: resolve });
    await promise;
  });
  await using processor = await start(slow, small);
  await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
  await gateway.ready();

  const good = small.encode(small.frame("g", 0, [{ lane: 0, features: small.window(1) }]));
  const payloads = { [LOG_TOPICS.frames]: good, [LOG_TOPICS.deadLetters]: good.subarray(0, 40) };
  for (const [topic, payload] of Object.entries(payloads)) {
    let acknowledged = false;
    const published = gateway.publish(framesTopic(PLANT, "g"), payload).then(() => {
      acknowledged = true;
    });
    while (held.length === 0) await nextTurn();
    // A packet that is answered at once overtakes: were there an acknowledgement, it would be here by now.
    await using other = openMqtt({ url: processor.framesUrl, clientId: `probe-${topic}`, logger });
    await other.ready();
    expect(held).toMatchObject([{ topic }]);
    expect(acknowledged).toBe(false);
    held.pop()!.release();
    await published;
    // Durable means that a reader finds it.
    expect((await log.ends(topic)).reduce((sum, { latest }) => sum + latest, 0)).toBe(1);
    if (topic === LOG_TOPICS.frames) {
      while (held.length === 0) await nextTurn(); // the batch
      held.pop()!.release();
    }
  }
  const [letter] = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length > 0);
  expect(deadLetterCodec.decode(letter!.value)).toMatchObject({ code: "FRAME_MALFORMED", plant: PLANT, gateway: "g", length: 40 });
});

it("acknowledges nothing while the log fails: the gateway sends again, and every frame comes into the log", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  let failures = 0;
  const failing = watchedLog(log, async ([record]) => {
    if (record!.topic !== LOG_TOPICS.frames || failures >= 3) return;
    failures += 1;
    throw new PipelineError("LOG_UNAVAILABLE", "the disk is full");
  });
  await using processor = await start(failing, small);
  await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
  await gateway.ready();
  const frames = [0, 1, 2, 3, 4, 5].map((sequence) => small.frame("g", sequence, [{ lane: sequence, features: small.window(sequence) }]));
  await Promise.all(frames.map((frame) => gateway.publish(framesTopic(PLANT, "g"), small.encode(frame))));
  expect(failures).toBe(3);
  const records = await collect(log, LOG_TOPICS.frames, (all) => all.length >= frames.length);
  const sequences = records.map(({ value }) => frameCodec.decode(value).sequence);
  // Those sent again may come behind newer ones, and some twice; their ids tell.
  expect([...new Set(sequences)].sort()).toEqual([0, 1, 2, 3, 4, 5]);
  expect(processor.counters.ingress.refused).toEqual({});
});

it("puts a gateway's gaps among the plant's scores, and refuses gaps of another sender or that contradict themselves", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  await using processor = await start(log, small);
  await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
  const gap: Gap = {
    plant: PLANT,
    gateway: "g",
    epoch: 7,
    fromSequence: 3,
    toSequence: 5,
    frames: 3,
    windows: 12,
    fromTimeMs: 1000,
    toTimeMs: 3000,
    reason: "bytes",
    signature: new Uint8Array(0),
  };
  const wrong: readonly [code: string, changes: Partial<Gap>][] = [
    ["FRAME_WRONG_SENDER", { gateway: "other" }],
    ["FRAME_WRONG_SENDER", { plant: "other" }],
    ["FRAME_MALFORMED", { toSequence: 2 }],
    ["FRAME_MALFORMED", { frames: 2 }],
    ["FRAME_MALFORMED", { windows: -1 }],
    ["FRAME_MALFORMED", { toTimeMs: 999 }],
    ["FRAME_WRONG_LENGTH", { signature: new Uint8Array(2000) }],
  ];
  for (const [, changes] of wrong) await gateway.publish(framesTopic(PLANT, "g"), gapCodec.encode({ ...gap, ...changes }));
  await gateway.publish(framesTopic(PLANT, "g"), gapCodec.encode(gap));
  const [record] = await collect(log, LOG_TOPICS.scores, (records) => records.length > 0);
  expect(record).toMatchObject({ offset: 0, key: PLANT });
  expect(gapCodec.decode(record!.value)).toMatchObject({ fromSequence: 3, toSequence: 5, windows: 12, reason: "bytes" });
  const letters = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length >= wrong.length);
  expect(letters.map(({ value }) => deadLetterCodec.decode(value).code)).toEqual(wrong.map(([code]) => code));
  expect(processor.counters.ingress).toMatchObject({ accepted: 0, gaps: 1 });
});
