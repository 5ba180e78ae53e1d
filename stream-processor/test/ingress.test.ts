import { setImmediate as nextTurn } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { deadLetterCodec, frameCodec, type Gap, gapCodec } from "@smile/schemas/envelopes";
import { signGap } from "@smile/schemas/signing";
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
    plants: small.registry,
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
    if (record!.topic === LOG_TOPICS.seenFrames) return;
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

it("puts a gateway's gaps among the plant's scores, and refuses gaps of others or that contradict themselves", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  await using processor = await start(log, small);
  await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
  const gap: Omit<Gap, "signature"> = {
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
  };
  const signed = (changes: Partial<Gap> = {}, signer = "g") => signGap({ ...gap, ...changes }, small.plant.signingKeys.get(signer)!);
  const wrong: readonly [code: string, gap: Gap][] = [
    ["FRAME_WRONG_SENDER", signed({ gateway: "other" })],
    ["FRAME_WRONG_SENDER", signed({ plant: "other" })],
    ["SIGNATURE_INVALID", signed({}, "h")],
    ["SIGNATURE_INVALID", { ...signed(), windows: 13 }],
    ["SIGNATURE_INVALID", { ...signed(), signature: new Uint8Array(0) }],
    ["FRAME_MALFORMED", signed({ toSequence: 2 })],
    ["FRAME_MALFORMED", signed({ frames: 2 })],
    ["FRAME_MALFORMED", signed({ windows: -1 })],
    ["FRAME_MALFORMED", signed({ toTimeMs: 999 })],
    ["FRAME_WRONG_LENGTH", { ...signed(), signature: new Uint8Array(2000) }],
  ];
  for (const [, each] of wrong) await gateway.publish(framesTopic(PLANT, "g"), gapCodec.encode(each));
  await gateway.publish(framesTopic(PLANT, "g"), gapCodec.encode(signed()));
  const [record] = await collect(log, LOG_TOPICS.scores, (records) => records.length > 0);
  expect(record).toMatchObject({ offset: 0, key: PLANT });
  expect(gapCodec.decode(record!.value)).toMatchObject({ fromSequence: 3, toSequence: 5, windows: 12, reason: "bytes" });
  const letters = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length >= wrong.length);
  expect(letters.map(({ value }) => deadLetterCodec.decode(value).code)).toEqual(wrong.map(([code]) => code));
  expect(processor.counters.ingress).toMatchObject({ accepted: 0, gaps: 1 });
});

it("appends a gap once, however often it is sent, and again when the log refused it", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  let failures = 0;
  const failing = watchedLog(log, async ([record]) => {
    if (record!.topic === LOG_TOPICS.scores && failures++ < 1) throw new PipelineError("LOG_UNAVAILABLE", "the disk is full");
  });
  await using processor = await start(failing, small);
  await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
  const numbers = { fromSequence: 3, toSequence: 5, frames: 3, windows: 12, fromTimeMs: 1000, toTimeMs: 3000 };
  const gap: Omit<Gap, "signature"> = { plant: PLANT, gateway: "g", epoch: 7, reason: "bytes", ...numbers };
  const payload = gapCodec.encode(signGap(gap, small.plant.signingKeys.get("g")!));
  await Promise.all([1, 2, 3].map(() => gateway.publish(framesTopic(PLANT, "g"), payload)));
  await gateway.publish(framesTopic(PLANT, "g"), payload);
  expect((await log.ends(LOG_TOPICS.scores))[0]!.latest).toBe(1);
  expect(processor.counters.ingress).toMatchObject({ gaps: 1, refused: {} });
  expect(processor.counters.ingress.replayed).toBeGreaterThanOrEqual(1);
});

it("appends a frame once that comes twice at the same time, and acknowledges both when it is durable", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  const release = Promise.withResolvers<void>();
  const slow = watchedLog(log, async ([record]) => {
    if (record!.topic === LOG_TOPICS.frames) await release.promise;
  });
  await using processor = await start(slow, small);
  const topic = framesTopic(PLANT, "g");
  const payload = small.encode(small.frame("g", 0, [{ lane: 0, features: small.window(1) }]));
  let acknowledged = 0;
  await using opened = new AsyncDisposableStack();
  const published = ["a", "b"].map(async (clientId) => {
    const gateway = opened.use(openMqtt({ url: processor.framesUrl, clientId, logger }));
    await gateway.ready();
    await gateway.publish(topic, payload);
    acknowledged += 1;
  });
  const other = opened.use(openMqtt({ url: processor.framesUrl, clientId: "c", logger }));
  await other.ready();
  await other.publish(topic, Buffer.from("refused at once")); // behind the two
  expect(acknowledged).toBe(0);
  release.resolve();
  await Promise.all(published);
  expect(processor.counters.ingress).toMatchObject({ accepted: 1, replayed: 1 });
  expect((await log.ends(LOG_TOPICS.frames))[0]!.latest).toBe(1);
});

it("takes nothing for durable that the log refused: the frame comes in when it is sent again", async () => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  let failures = 0;
  const failing = watchedLog(log, async ([record]) => {
    if (record!.topic === LOG_TOPICS.frames && failures++ < 1) throw new PipelineError("LOG_UNAVAILABLE", "the disk is full");
  });
  await using processor = await start(failing, small);
  await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
  await gateway.publish(framesTopic(PLANT, "g"), small.encode(small.frame("g", 0, [{ lane: 0, features: small.window(1) }])));
  expect(processor.counters.ingress).toMatchObject({ accepted: 1, replayed: 0 });
});
