import { setTimeout as delay } from "node:timers/promises";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { deliveryCodec } from "@smile/schemas/envelopes";
import { cursorTopic, LOG_TOPICS, scoresTopic } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { startStreamProcessor } from "../src/service.ts";

const logger = silentLogger();
const plants = new FixedRegistry(["north", "south"].map((plant) => fixturePlant({ plant, gateways: [] }).register));
const loopback = { host: "127.0.0.1", port: 0 };
/** Together far more than sockets hold, on both ends. */
const scores = 400;
const scoreBytes = 64 * 1024;
/** Scores that egress sends a plant beyond its cursor. */
const WINDOW = 256;

/** A console in small: stores what comes next and says so, or never reads again. */
function openConsole(url: string, plant: string, clientId: string, frozen = false) {
  const stored: number[] = [];
  let next = 0;
  const first = Promise.withResolvers<void>();
  const all = Promise.withResolvers<void>();
  const tell = (resume: boolean, at: { topicId: string; partition: number } | null) => {
    const message = { topicId: at?.topicId ?? null, partition: at?.partition ?? null, next: at === null ? null : next, resume };
    return connection.publish(cursorTopic(plant), Buffer.from(JSON.stringify(message)));
  };
  const handle = async (_: string, payload: Uint8Array) => {
    first.resolve();
    if (frozen) return await new Promise<never>(() => {}); // the client reads on only when this is done
    const { topicId, partition, from, offset, score } = deliveryCodec.decode(payload);
    if (from > next || offset < next) return;
    stored.push(Buffer.from(score.buffer, score.byteOffset).readUInt32LE(0));
    next = offset + 1;
    tell(false, { topicId, partition }).catch(() => {});
    if (stored.length === scores) all.resolve();
  };
  const connection = openMqtt({ url, clientId, logger, subscribe: { filters: [scoresTopic(plant)], handle } });
  return { connection, stored, first: first.promise, all: all.promise, resume: () => tell(true, null) };
}

it("keeps a plant's scores flowing while another plant's subscriber is frozen, cuts that one off, and brings it everything later", async () => {
  await using log = await openTemporaryLog({ logger });
  const limits = { lingerMs: 20, openPerKind: 4 };
  await using processor = await startStreamProcessor({
    log,
    logger,
    deployments: [],
    plants,
    frames: loopback,
    scores: { ...loopback, limits: { drainTimeoutMs: 3000 } },
    limits,
    partitions: 1,
  });
  const wanted = Array.from({ length: scores }, (_, i) => i);
  for (const i of wanted) {
    const value = Buffer.alloc(scoreBytes);
    value.writeUInt32LE(i);
    await log.append(["north", "south"].map((key) => ({ topic: LOG_TOPICS.scores, key, value })));
  }
  const { cutOff } = processor.endpoints.scores;
  await using opened = new AsyncDisposableStack();

  const frozen = openConsole(processor.scoresUrl, "south", "frozen", true);
  opened.use(frozen.connection);
  await frozen.connection.ready();
  await frozen.resume();
  await frozen.first;

  const north = openConsole(processor.scoresUrl, "north", "north");
  opened.use(north.connection);
  await north.connection.ready();
  await north.resume();
  await north.all;
  expect(north.stored).toEqual(wanted);
  expect(cutOff).toEqual({}); // in all this time, the frozen one was there
  // What is on its way to it waits in the log, not in memory.
  expect(processor.counters.egress.deliveries - scores).toBeLessThan(WINDOW);

  while (cutOff.frozen === undefined) await delay(20);
  expect(cutOff).toEqual({ frozen: 1 });
  await frozen.connection[Symbol.asyncDispose]();
  const south = openConsole(processor.scoresUrl, "south", "thawed");
  opened.use(south.connection);
  await south.connection.ready();
  await south.resume();
  await south.all;
  expect(south.stored).toEqual(wanted);
});
