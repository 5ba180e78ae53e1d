import { setImmediate as nextTurn } from "node:timers/promises";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { encodeCursor, parseCursor } from "@smile/schemas/cursor";
import { deliveryCodec } from "@smile/schemas/envelopes";
import { cursorTopic, LOG_TOPICS, scoresTopic } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { startStreamProcessor } from "../src/service.ts";

const loopback = { host: "127.0.0.1", port: 0 };
const logger = silentLogger();
const plants = new FixedRegistry(["north", "south"].map((plant) => fixturePlant({ plant, gateways: [] }).register));

async function open() {
  await using opened = new AsyncDisposableStack();
  const log = opened.use(await openTemporaryLog({ logger }));
  const limits = { lingerMs: 20, openPerKind: 4 };
  const processor = opened.use(
    await startStreamProcessor({ log, logger, deployments: [], plants, frames: loopback, scores: loopback, limits, partitions: 1 }),
  );
  const owned = opened.move();
  return { log, processor, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const resume = encodeCursor({ topicId: null, partition: null, next: null, resume: true });

/** A client that subscribes to a filter, and what it receives. */
function subscriber(url: string, clientId: string, filter: string) {
  const received: Uint8Array[] = [];
  const handle = async (_: string, payload: Uint8Array) => {
    received.push(payload);
  };
  const client = openMqtt({ url, clientId, logger, subscribe: { filters: [filter], handle } });
  return { client, received };
}
const scoreOf = (payload: Uint8Array) => Buffer.from(deliveryCodec.decode(payload).score).toString();

it("delivers a plant's scores to who subscribes to that plant, and refuses wildcards", async () => {
  await using at = await open();
  await at.log.append(["north", "south"].map((key) => ({ topic: LOG_TOPICS.scores, key, value: Buffer.from(key) })));
  const url = at.processor.scoresUrl;
  const plants = ["north", "south"].map((plant) => ({ plant, ...subscriber(url, plant, scoresTopic(plant)) }));
  await using opened = new AsyncDisposableStack();
  for (const { plant, client } of plants) {
    opened.use(client);
    await client.ready();
    await client.publish(cursorTopic(plant), resume);
  }
  while (plants.some(({ received }) => received.length === 0)) await nextTurn();
  for (const { plant, received } of plants) expect(received.map(scoreOf)).toEqual([plant]);
  for (const filter of ["smile/v1/+/scores", "smile/v1/north/#", "#", cursorTopic("north")]) {
    const { client } = subscriber(url, filter, filter);
    opened.use(client);
    await expect(client.ready(), filter).rejects.toThrow(/BROKER_REFUSED/);
  }
});

it("hears nothing from plants but cursors, hands none of it on, and goes on after nonsense", async () => {
  await using at = await open();
  await at.log.append([{ topic: LOG_TOPICS.scores, key: "north", value: Buffer.from("1") }]);
  const { client, received } = subscriber(at.processor.scoresUrl, "north", scoresTopic("north"));
  await using _ = client;
  await using intruder = openMqtt({ url: at.processor.scoresUrl, clientId: "intruder", logger });
  await client.ready();
  await intruder.publish(scoresTopic("north"), Buffer.from("a score of my own"));
  await client.publish(cursorTopic("north"), Buffer.from("{"));
  await client.publish(cursorTopic("no/plant"), resume);
  await client.publish(cursorTopic("north"), resume);
  while (at.processor.counters.egress.deliveries === 0 || received.length === 0) await nextTurn();
  expect(received.map(scoreOf)).toEqual(["1"]);
});

it.each([
  "",
  "[]",
  '{"topicId":"t","next":-1,"partition":0,"resume":true}',
  '{"topicId":"t","next":1.5,"partition":0,"resume":true}',
  '{"topicId":"t","next":1,"partition":0}',
])("takes %j for no cursor", (text) => {
  expect(() => parseCursor(Buffer.from(text))).toThrow(/FRAME_MALFORMED/);
});
