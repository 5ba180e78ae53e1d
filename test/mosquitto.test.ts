import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import { decodeLanes } from "@smile/he/lanes";
import { startModelService } from "@smile/model-service/service";
import { openEmbeddedLog, openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { deliveryCodec, frameCodec, scoreCodec } from "@smile/schemas/envelopes";
import { identityHash } from "@smile/schemas/plant-register";
import { cursorTopic, framesTopic, jobFramesTopic, LOG_TOPICS, scoresTopic } from "@smile/schemas/topics";
import { startStreamProcessor } from "@smile/stream-processor/service";
import { expect, it } from "vitest";
import { collect } from "./support/collect.ts";
import { describeWithMosquitto, Mosquitto } from "./support/mosquitto.ts";
import { PLANT, type SmallDeployment, smallDeployment, temporaryFolder } from "./support/small-deployment.ts";
import { RECORDS, smallSegments } from "./support/small-segments.ts";
import { startSmile } from "./support/smile-process.ts";
import { watchedLog } from "./support/watched-log.ts";

const logger = silentLogger();
const reconnectMs = { first: 20, last: 100 };

const startProcessor = (log: Log, small: SmallDeployment, url: string) =>
  startStreamProcessor({
    log,
    logger,
    deployments: [small.deployed.deployment],
    plants: small.registry,
    frames: { broker: url, clientId: "ingress" },
    scores: { broker: url, clientId: "egress" },
    limits: { lingerMs: 20, openPerKind: 4 },
    partitions: 1,
  });
const openGateway = (url: string) => openMqtt({ url, clientId: "g", logger, reconnectMs });
const frame = (small: SmallDeployment, sequence: number) =>
  small.encode(small.frame("g", sequence, [{ lane: sequence % small.deployed.plan.lanes, features: small.window(sequence) }]));
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

/** Sequences of the frames in the log, repeats left out, once all of `wanted` are there. */
async function sequencesWith(log: Log, wanted: readonly number[]): Promise<number[]> {
  const seen = new Set<number>();
  await collect(log, LOG_TOPICS.frames, (records) => {
    for (const { value } of records) seen.add(frameCodec.decode(value).sequence);
    return wanted.every((each) => seen.has(each));
  });
  return [...seen].toSorted((a, b) => a - b);
}
const until = async (condition: () => boolean) => {
  while (!condition()) await delay(10);
};

describeWithMosquitto("with Mosquitto as the broker", () => {
  it("takes frames to a plant as exact scores, through the log and back", async () => {
    await using mosquitto = await Mosquitto.open();
    using small = await smallDeployment();
    await using log = await openTemporaryLog({ logger });
    await using processor = await startProcessor(log, small, mosquitto.url);
    await using _models = await startModelService({
      log,
      logger,
      partitions: 1,
      deployments: [small.served],
      plants: small.registry,
      signingKey: small.scoreSigner,
      pool: { threads: 1 },
    });
    const scores = new Map<number, number>();
    const arrived = Promise.withResolvers<void>();
    const handle = async (_: string, payload: Uint8Array) => {
      const score = scoreCodec.decode(deliveryCodec.decode(payload).score);
      const lanesOf = (lanes: Uint8Array) => decodeLanes(lanes, small.deployed.plan.lanes);
      const all = score.parts.flatMap(({ lanes }) => lanesOf(lanes)).sort((a, b) => a - b);
      const values = small.decrypt(score.replies[0]!, all);
      for (const { sequence, lanes } of score.parts) scores.set(sequence, values[all.indexOf(lanesOf(lanes)[0]!)]!);
      if (scores.size === 40) arrived.resolve();
    };
    await using console = openMqtt({ url: mosquitto.url, clientId: "c", logger, subscribe: { filters: [scoresTopic(PLANT)], handle } });
    await using gateway = openGateway(mosquitto.url);
    await Promise.all([console.ready(), gateway.ready(), until(() => processor.endpoints.frames.connected)]);
    await Promise.all(numbers(0, 40).map((i) => gateway.publish(framesTopic(PLANT, "g"), frame(small, i))));
    const nothing = { topicId: null, partition: null, next: null, resume: true };
    // Repeated, as a console does: no broker keeps a cursor for an egress that is not connected yet.
    while (scores.size < 40) {
      await console.publish(cursorTopic(PLANT), Buffer.from(JSON.stringify(nothing)));
      await Promise.race([arrived.promise, delay(200)]);
    }
    expect(Object.fromEntries(scores)).toEqual(Object.fromEntries(numbers(0, 40).map((i) => [i, small.score(small.window(i))])));
  });

  it("lets frames of a stream pass while a job's wait, and those go on once they are scored", async () => {
    await using mosquitto = await Mosquitto.open();
    using small = await smallDeployment();
    using segments = await smallSegments(["north"]);
    await using log = await openTemporaryLog({ logger });
    const plants = new FixedRegistry([small.plant.register, segments.plants.get("north")!.register]);
    await using processor = await startStreamProcessor({
      ...{ log, logger, plants, partitions: 1, limits: { lingerMs: 20, openPerKind: 4 }, jobBacklog: 2 },
      deployments: [small.deployed.deployment, segments.deployment],
      frames: { broker: mosquitto.url, clientId: "ingress" },
      scores: { broker: mosquitto.url, clientId: "egress" },
    });
    await using gateway = openGateway(mosquitto.url);
    await Promise.all([gateway.ready(), until(() => processor.endpoints.frames.connected)]);
    await Promise.all(numbers(0, 10).map((i) => gateway.publish(jobFramesTopic("north", RECORDS), segments.frame("north", i, 10))));
    await until(() => processor.jobsWaiting() > 0);
    for (const i of numbers(0, 10)) await gateway.publish(framesTopic(PLANT, "g"), frame(small, i));
    expect(await sequencesWith(log, numbers(0, 10))).toEqual(numbers(0, 10));
    expect((await log.ends(LOG_TOPICS.jobFrames))[0]!.latest).toBe(2);

    const served = {
      log,
      logger,
      plants,
      partitions: 1,
      deployments: [segments.served],
      signingKey: small.scoreSigner,
      pool: { threads: 1 },
    };
    await using _models = await startModelService(served);
    const scores = await collect(log, LOG_TOPICS.jobScores, ({ length }) => length >= 10);
    expect(scores.map(({ value }) => scoreCodec.decode(value).parts[0]!.sequence)).toEqual(numbers(0, 10));
  });

  it("gets everything again that the log did not take", async () => {
    await using mosquitto = await Mosquitto.open();
    using small = await smallDeployment();
    await using log = await openTemporaryLog({ logger });
    let failures = 0;
    let appends = 0;
    const failing = watchedLog(log, async ([record]) => {
      if (record!.topic !== LOG_TOPICS.frames || ++appends % 10 !== 5 || failures >= 3) return;
      failures++;
      throw new PipelineError("LOG_UNAVAILABLE", "the disk is full");
    });
    await using processor = await startProcessor(failing, small, mosquitto.url);
    await using gateway = openGateway(mosquitto.url);
    await until(() => processor.endpoints.frames.connected);
    await gateway.ready();
    for (const i of numbers(0, 40)) await gateway.publish(framesTopic(PLANT, "g"), frame(small, i));
    expect(await sequencesWith(log, numbers(0, 40))).toEqual(numbers(0, 40));
    expect(failures).toBe(3);
  });

  it("loses nothing that was acknowledged when ingress is killed in mid-stream and started again", async () => {
    await using mosquitto = await Mosquitto.open();
    using small = await smallDeployment();
    using folder = temporaryFolder();
    const path = (name: string) => join(folder.path, name);
    writeFileSync(path("deployment.json"), JSON.stringify(small.deployed.deployment));
    const { register } = small.plant;
    writeFileSync(path("register.json"), JSON.stringify(register));
    const plants = [{ register: "register.json", identity: identityHash(register.identity) }];
    const endpoints = { frames: { broker: mosquitto.url }, scores: { broker: mosquitto.url } };
    const settings = { log: { path: "log.db", partitions: 1 }, deployments: ["deployment.json"], plants, ...endpoints };
    writeFileSync(path("stream-processor.json"), JSON.stringify(settings));
    const startIngress = async () => {
      const ingress = startSmile(["stream-processor", "--config", path("stream-processor.json")]);
      await ingress.line(/"part":"ingress".*"msg":"connected"/);
      return ingress;
    };
    let ingress = await startIngress();
    try {
      await using log = await openEmbeddedLog({ path: path("log.db"), logger });
      await using gateway = openGateway(mosquitto.url);
      await gateway.ready();
      const inLog = async () => (await log.ends(LOG_TOPICS.frames))[0]!.latest;
      for (const [from, to] of [
        [0, 100],
        [100, 200],
        [200, 300],
      ] as const) {
        const publishing = Promise.all(numbers(from, to).map((i) => gateway.publish(framesTopic(PLANT, "g"), frame(small, i))));
        if (to < 300) {
          while ((await inLog()) < from + 20) await delay(1);
          await ingress.stop("SIGKILL");
          await publishing;
          ingress = await startIngress();
        }
        await publishing;
      }
      expect(await sequencesWith(log, numbers(0, 300))).toEqual(numbers(0, 300));
    } finally {
      await ingress[Symbol.asyncDispose]();
    }
  });

  it("keeps what Mosquitto has saved when that is killed, also while ingress is away", async () => {
    await using mosquitto = await Mosquitto.open();
    using small = await smallDeployment();
    await using log = await openTemporaryLog({ logger });
    {
      await using processor = await startProcessor(log, small, mosquitto.url);
      await until(() => processor.endpoints.frames.connected);
      await using gateway = openGateway(mosquitto.url);
      await gateway.publish(framesTopic(PLANT, "g"), frame(small, 0));
      await sequencesWith(log, [0]);
    }
    await using gateway = openGateway(mosquitto.url);
    await gateway.ready();
    await Promise.all(numbers(1, 30).map((i) => gateway.publish(framesTopic(PLANT, "g"), frame(small, i))));
    await until(() => mosquitto.savedBytes > 29 * frame(small, 1).length);
    await mosquitto.stop("SIGKILL");
    await mosquitto.start();
    await using _processor = await startProcessor(log, small, mosquitto.url);
    expect(await sequencesWith(log, numbers(0, 30))).toEqual(numbers(0, 30));
  });

  it("stops in time while Mosquitto is away and a score is on its way", async () => {
    await using mosquitto = await Mosquitto.open();
    using small = await smallDeployment();
    await using log = await openTemporaryLog({ logger });
    const processor = await startProcessor(log, small, mosquitto.url);
    const append = (text: string) => log.append([{ topic: LOG_TOPICS.scores, key: PLANT, value: Buffer.from(text) }]);
    await append("1");
    await until(() => processor.endpoints.scores.connected);
    await using console = openMqtt({ url: mosquitto.url, clientId: "c", logger });
    const nothing = JSON.stringify({ topicId: null, partition: null, next: null, resume: true });
    while (processor.counters.egress.deliveries === 0) {
      await console.publish(cursorTopic(PLANT), Buffer.from(nothing));
      await delay(20);
    }
    await mosquitto.stop("SIGKILL");
    await until(() => !processor.endpoints.scores.connected && !processor.endpoints.frames.connected);
    await append("2");
    const sinceMs = performance.now();
    await processor[Symbol.asyncDispose]();
    expect(performance.now() - sinceMs).toBeLessThan(5000);
  });

  it("shows Mosquitto's own boundary: by default, what it acknowledged survives its end by SIGTERM, and not by SIGKILL", async () => {
    await using mosquitto = await Mosquitto.open(["autosave_on_changes false", "autosave_interval 1800"]);
    using small = await smallDeployment();
    await using log = await openTemporaryLog({ logger });
    const withIngress = async (work: () => Promise<void>) => {
      await using processor = await startProcessor(log, small, mosquitto.url);
      await until(() => processor.endpoints.frames.connected);
      await work();
    };
    const publish = async (sequence: number) => {
      await using gateway = openGateway(mosquitto.url);
      await gateway.publish(framesTopic(PLANT, "g"), frame(small, sequence));
    };
    await withIngress(async () => {
      await publish(0);
      await sequencesWith(log, [0]);
    });
    await publish(1);
    await mosquitto.stop("SIGTERM");
    await mosquitto.start();
    await withIngress(async () => void (await sequencesWith(log, [0, 1])));
    await publish(2);
    await mosquitto.stop("SIGKILL");
    await mosquitto.start();
    await withIngress(async () => {
      await publish(3);
      expect(await sequencesWith(log, [0, 1, 3])).toEqual([0, 1, 3]);
    });
  });
});
