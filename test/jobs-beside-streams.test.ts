import { setImmediate as nextTurn } from "node:timers/promises";
import { decodeLanes } from "@smile/he/lanes";
import { type ModelService, startModelService } from "@smile/model-service/service";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { encodeCursor } from "@smile/schemas/cursor";
import { deliveryCodec, frameCodec, scoreCodec } from "@smile/schemas/envelopes";
import { framesTopic, jobCursorTopic, jobFramesTopic, jobScoresTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { type StreamProcessor, startStreamProcessor } from "@smile/stream-processor/service";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect } from "./support/collect.ts";
import { PLANT, type SmallDeployment, smallDeployment } from "./support/small-deployment.ts";
import { RECORDS, type SmallSegments, smallSegments } from "./support/small-segments.ts";

const logger = silentLogger();
const loopback = { host: "127.0.0.1", port: 0 };
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const resume = encodeCursor({ topicId: null, partition: null, next: null, resume: true });

let small: SmallDeployment;
let segments: SmallSegments;
beforeAll(async () => {
  small = await smallDeployment();
  segments = await smallSegments(["north", "south"]);
});
afterAll(() => {
  small[Symbol.dispose]();
  segments[Symbol.dispose]();
});
const plants = () => new FixedRegistry([small.plant.register, ...[...segments.plants.values()].map(({ register }) => register)]);

const startProcessor = (log: Log, jobBacklog = 256): Promise<StreamProcessor> =>
  startStreamProcessor({
    ...{ log, logger, plants: plants(), partitions: 1, frames: loopback, scores: loopback },
    ...{ deployments: [small.deployed.deployment, segments.deployment], limits: { lingerMs: 5, openPerKind: 4 }, jobBacklog },
  });
const startModels = (log: Log, deployments = [small.served, segments.served]): Promise<ModelService> =>
  startModelService({ log, logger, plants: plants(), partitions: 1, deployments, signingKey: small.scoreSigner, pool: { threads: 1 } });

/** A client that publishes frames: of a plant's jobs, or of the stream. */
async function client(processor: StreamProcessor, clientId: string) {
  const connection = openMqtt({ url: processor.framesUrl, clientId, logger });
  await connection.ready();
  return {
    job: (plant: string, from: number, to: number, frameCount: number) =>
      Promise.all(
        numbers(to - from).map((i) => connection.publish(jobFramesTopic(plant, RECORDS), segments.frame(plant, from + i, frameCount))),
      ),
    window: (sequence: number) => {
      const frame = small.frame("g", sequence, [{ lane: 0, features: small.window(sequence) }]);
      return connection.publish(framesTopic(PLANT, "g"), small.encode(frame));
    },
    publish: connection.publish,
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}

it("a job and a stream pass side by side, and each comes back by its own way, exact", async () => {
  await using log = await openTemporaryLog({ logger });
  await using processor = await startProcessor(log);
  await using models = await startModels(log);
  await using gateway = await client(processor, "gateway");
  const came = new Map<number, number[]>();
  const handle = async (_: string, payload: Uint8Array) => {
    const { parts, replies } = scoreCodec.decode(deliveryCodec.decode(payload).score);
    expect(parts).toHaveLength(1);
    came.set(parts[0]!.sequence, segments.decrypt(replies));
  };
  const subscribe = { filters: [jobScoresTopic("north")], handle };
  await using console = openMqtt({ url: processor.scoresUrl, clientId: "north-console", logger, subscribe });
  await console.ready();
  await console.publish(jobCursorTopic("north"), resume);

  await Promise.all([gateway.job("north", 0, 20, 20), ...numbers(20).map((i) => gateway.window(i))]);
  while (came.size < 20) await nextTurn();
  for (const sequence of numbers(20)) expect(came.get(sequence)).toEqual(segments.segments(sequence));

  const { lanes } = small.deployed.deployment;
  const scored = await collect(log, LOG_TOPICS.scores, (records) => {
    return records.flatMap(({ value }) => scoreCodec.decode(value).parts).length >= 20;
  });
  for (const { parts, replies } of scored.map(({ value }) => scoreCodec.decode(value))) {
    expect(parts.map(({ jobId }) => jobId)).toEqual([null]);
    expect(small.decrypt(replies[0]!, decodeLanes(parts[0]!.lanes, lanes))).toEqual([small.score(small.window(parts[0]!.sequence))]);
  }
  expect([processor.counters.ingress.accepted, processor.counters.ingress.jobs.accepted]).toEqual([20, 20]);
  expect([models.counters.batches, models.jobCounters.batches]).toEqual([20, 20]);
  while (processor.counters.jobs.egress.deliveries < 20) await nextTurn();
  expect(processor.counters.egress.deliveries).toBe(0);
});

it("a big job that waits holds up neither a stream nor another plant's small job, nor does it fill the log", async () => {
  const BACKLOG = 6;
  await using log = await openTemporaryLog({ logger });
  await using processor = await startProcessor(log, BACKLOG);
  {
    // No model service has the jobs' deployment yet: what comes now has to wait.
    await using _ = await startModels(log, [small.served]);
    await using north = await client(processor, "north");
    await using south = await client(processor, "south");
    const waiting: Promise<unknown>[] = [north.job("north", 0, 60, 60)];
    while (processor.counters.ingress.jobs.accepted < BACKLOG) await nextTurn();
    while (processor.jobsWaiting() < 2) await nextTurn();
    waiting.push(south.job("south", 0, 4, 4));
    await using gateway = await client(processor, "gateway");
    for (const sequence of numbers(10)) await gateway.window(sequence);
    await collect(log, LOG_TOPICS.scores, (records) => records.length >= 1);
    expect((await log.ends(LOG_TOPICS.jobFrames))[0]!.latest).toBe(BACKLOG);

    await using _jobs = await startModels(log, [segments.served]);
    await Promise.all(waiting);
  }
  const order = (await collect(log, LOG_TOPICS.jobFrames, ({ length }) => length >= 64)).map(({ key }) => key);
  // In turns as far as they wait: the broker hands a client's frames over a few at a time.
  expect(order.slice(BACKLOG).lastIndexOf("south")).toBeLessThanOrEqual(2 * 4 + BACKLOG);
  expect(order.filter((plant) => plant === "north")).toHaveLength(60);
});

it("knows a job's frames again after a restart, by the jobs' own snapshots", async () => {
  await using log = await openTemporaryLog({ logger });
  {
    await using processor = await startProcessor(log);
    await using gateway = await client(processor, "gateway");
    await gateway.job("north", 0, 12, 12);
    while (processor.counters.jobs.merging.batches < 12) await nextTurn();
  }
  expect((await log.ends(LOG_TOPICS.jobSeenFrames))[0]!.latest).toBeGreaterThan(0);
  expect((await log.ends(LOG_TOPICS.seenFrames))[0]!.latest).toBe(0);
  await using processor = await startProcessor(log);
  await using gateway = await client(processor, "gateway");
  await gateway.job("north", 0, 12, 12);
  expect(processor.counters.ingress.jobs).toMatchObject({ accepted: 0, replayed: 12 });
  // An ingress that knew nothing of it would have appended it: merging tells it apart all the same.
  await log.append([{ topic: LOG_TOPICS.jobFrames, key: "north", value: segments.frame("north", 3, 12) }]);
  while (processor.counters.jobs.merging.frames < 1) await nextTurn();
  expect(processor.counters.jobs.merging).toMatchObject({ batches: 0, repeated: 1 });
});

describe("ingress refuses", () => {
  const cases: [string, () => { topic: string; payload: Buffer }, string][] = [
    [
      "a job's frame among streams",
      () => ({ topic: framesTopic("north", RECORDS), payload: segments.frame("north", 0, 1) }),
      "FRAME_WRONG_SENDER",
    ],
    [
      "a stream's frame among jobs",
      () => ({ topic: jobFramesTopic(PLANT, "g"), payload: small.encode(small.frame("g", 0, [{ lane: 0, features: small.window(0) }])) }),
      "FRAME_WRONG_SENDER",
    ],
    ["a job without an end", () => job({ frameCount: null }), "FRAME_MALFORMED"],
    ["a frame beyond its job's end", () => job({ sequence: 5 }), "FRAME_MALFORMED"],
    ["a job whose id is no name", () => job({ jobId: "../../etc" }), "FRAME_MALFORMED"],
    [
      "a job of a stream's feature set",
      () => {
        const frame = small.sign({ ...small.frame("g", 0, [{ lane: 0, features: small.window(0) }]), jobId: "job", frameCount: 1 });
        return { topic: jobFramesTopic(PLANT, "g"), payload: frameCodec.encode(frame) };
      },
      "PARAMS_UNKNOWN",
    ],
    [
      "a stream of a job's feature set",
      () => ({ topic: framesTopic("north", RECORDS), payload: segments.frame("north", 0, 1, { jobId: null, frameCount: null }) }),
      "PARAMS_UNKNOWN",
    ],
  ];
  const job = (change: object) => ({ topic: jobFramesTopic("north", RECORDS), payload: segments.frame("north", 0, 3, change) });

  it.each(cases)("%s", async (_, message, code) => {
    await using log = await openTemporaryLog({ logger });
    await using processor = await startProcessor(log);
    await using gateway = await client(processor, "gateway");
    const { topic, payload } = message();
    await gateway.publish(topic, payload);
    expect(processor.counters.ingress.refused).toEqual({ [code]: 1 });
    const ends = await Promise.all([LOG_TOPICS.frames, LOG_TOPICS.jobFrames].map((each) => log.ends(each)));
    expect(ends.map(([end]) => end!.latest)).toEqual([0, 0]);
  });
});

it("an installation without segment deployments joins no group of jobs", async () => {
  await using temporary = await openTemporaryLog({ logger });
  const groups: string[] = [];
  const log: Log = new Proxy(temporary, {
    get: (target, name) => {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== "function") return value;
      return (...given: unknown[]) => {
        if (name === "join") groups.push(String(given[0]));
        return Reflect.apply(value, target, given);
      };
    },
  });
  const services = { log, logger, plants: plants(), partitions: 1 };
  await using _processor = await startStreamProcessor({
    ...services,
    ...{ deployments: [small.deployed.deployment], frames: loopback, scores: loopback, limits: { lingerMs: 5, openPerKind: 4 } },
  });
  await using _models = await startModels(log, [small.served]);
  expect(groups).toEqual(["smile-stream-processor", "smile-model-service"]);
});
