import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import mqtt from "mqtt";
import { expect, it } from "vitest";
import { silentLogger } from "../src/logging.ts";
import { type BrokerOptions, startBroker } from "../src/mqtt-broker.ts";
import { openMqtt } from "../src/mqtt-client.ts";

const logger = silentLogger();
const topic = "smile/v1/plant/gateway/frames";

const open = (options: Partial<BrokerOptions> = {}) => startBroker({ port: 0, logger, authorizePublish: async () => {}, ...options });
const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

/** A socket that has said so much, and when it was closed. */
async function stranger(port: number, bytes: readonly number[] = []): Promise<{ socket: Socket; closed: Promise<unknown> }> {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve)); // `once` would reject when it is reset
  await once(socket, "connect");
  socket.resume();
  if (bytes.length > 0) socket.write(Uint8Array.from(bytes));
  return { socket, closed };
}

/** PUBLISH with QoS 1 of so many bytes behind the topic "t" and packet identifier 1. */
const publishPacket = (payloadBytes: number) => [0x32, 5 + payloadBytes, 0, 1, 0x74, 0, 1, ...Array<number>(payloadBytes).fill(0)];

/** CONNECT of MQTT 3.1.1 with a clean session. */
const connectPacket = connectAs("a");

function connectAs(id: "a" | "b", keepaliveSeconds = 60): number[] {
  return [0x10, 13, 0, 4, ...Buffer.from("MQTT"), 4, 2, 0, keepaliveSeconds, 0, 1, id.charCodeAt(0)];
}

it.each([
  ["declares 200 MB before CONNECT", [0x10, 0x80, 0x84, 0xaf, 0x5f], "packet-too-large"],
  ["declares more than the limit after CONNECT", [...connectPacket, 0x32, 0x80, 0x84, 0xaf, 0x5f], "packet-too-large"],
  ["has a length without an end", [...connectPacket, 0x32, 0x80, 0x80, 0x80, 0x80], "malformed-length"],
  ["does not begin with CONNECT", [0x32, 3, 0, 1, 0x61], "not-connect"],
])("closes the connection of a client that %s, and counts it", async (_, bytes, reason) => {
  await using broker = await open();
  await (await stranger(broker.port, bytes)).closed;
  expect(broker.cutOff).toEqual({ [reason]: 1 });
  await using neighbour = openMqtt({ url: broker.url, clientId: "neighbour", logger });
  await neighbour.publish(topic, Buffer.alloc(43 * 1024));
});

it("takes packets up to the limit, and the neighbours of who goes beyond never notice", async () => {
  const sizes: number[] = [];
  const limits = { maxPacketBytes: 10_000 };
  await using broker = await open({ limits, authorizePublish: async ({ payload }) => void sizes.push(payload.length) });
  const largest = limits.maxPacketBytes - 3 - 2 - Buffer.byteLength(topic) - 2; // fixed header, topic with its length, packet identifier
  await using gateway = openMqtt({ url: broker.url, clientId: "gateway", logger });
  await gateway.publish(topic, new Uint8Array(largest));
  const greedy = await mqtt.connectAsync(broker.url, { clientId: "greedy", reconnectPeriod: 0 });
  const closed = new Promise<void>((resolve) => void greedy.once("close", () => resolve()));
  greedy.publish(topic, Buffer.alloc(largest + 1), { qos: 1 });
  await closed;
  await gateway.publish(topic, new Uint8Array(1));
  expect(sizes).toEqual([largest, 1]);
  expect(broker.cutOff).toEqual({ "packet-too-large": 1 });
});

it("ends connections on which no whole CONNECT comes in time, however slowly its bytes come", async () => {
  await using broker = await open({ limits: { connectTimeoutMs: 100 } });
  await using gateway = openMqtt({ url: broker.url, clientId: "gateway", logger });
  await gateway.ready();
  const silent = await stranger(broker.port);
  const slow = await stranger(broker.port, connectPacket.slice(0, 5));
  const drip = setInterval(() => slow.socket.write(Uint8Array.of(0)), 40);
  await Promise.all([silent.closed, slow.closed]);
  clearInterval(drip);
  expect(broker.cutOff).toEqual({ "late-connect": 2 });
  await gateway.publish(topic, new Uint8Array(1));
});

it("ends connections whose packet does not come whole in time, however steadily its bytes come", async () => {
  await using broker = await open({ limits: { packetTimeoutMs: 100 } });
  await using gateway = openMqtt({ url: broker.url, clientId: "gateway", logger });
  await gateway.ready();
  const slow = await stranger(broker.port, [...connectPacket, 0x32, 100, 0, 1, 0x74]);
  const drip = setInterval(() => slow.socket.write(Uint8Array.of(0)), 20);
  const halfHeader = await stranger(broker.port, [...connectAs("b"), 0x32]);
  await Promise.all([slow.closed, halfHeader.closed]);
  clearInterval(drip);
  expect(broker.cutOff).toEqual({ "late-packet": 2 });
  await gateway.publish(topic, new Uint8Array(1));
});

it("does not hold it against a client that its packet waits for the hook", async () => {
  const answers: PromiseWithResolvers<void>[] = [];
  const authorizePublish = () => {
    answers.push(Promise.withResolvers());
    return answers.at(-1)!.promise;
  };
  await using broker = await open({ limits: { packetTimeoutMs: 40 }, authorizePublish });
  const ninth = publishPacket(20);
  const eight = Array.from({ length: 8 }, () => publishPacket(20)).flat();
  const client = await stranger(broker.port, connectPacket);
  await once(client.socket, "data");
  client.socket.write(Uint8Array.from([...eight, ...ninth.slice(0, 10)]));
  await until(() => answers.length === 8);
  await expect(Promise.race([client.closed, delay(200, "open")])).resolves.toBe("open");
  for (const { resolve } of answers) resolve();
  client.socket.write(Uint8Array.from(ninth.slice(10)));
  await until(() => answers.length === 9);
  answers[8]!.resolve();
  expect(broker.cutOff).toEqual({});
  client.socket.destroy();
});

it("takes no more connections than it may: the oldest that has not sent CONNECT goes, else the newest, never a client", async () => {
  await using broker = await open({ limits: { maxConnections: 2 } });
  await using gateway = openMqtt({ url: broker.url, clientId: "gateway", logger });
  await gateway.ready();
  const silent = await stranger(broker.port);
  await using another = openMqtt({ url: broker.url, clientId: "another", logger, reconnectMs: { first: 10, last: 20 } });
  await Promise.all([another.ready(), silent.closed]);
  expect(broker.cutOff).toEqual({ "too-many-connections": 1 });
  await (await stranger(broker.port, connectPacket)).closed;
  expect(broker.cutOff).toEqual({ "too-many-connections": 2 });
  expect([gateway.connected, another.connected]).toEqual([true, true]);
  await gateway.publish(topic, new Uint8Array(1));
});

it("lets a client in while strangers take every connection that there is, again and again", async () => {
  await using broker = await open({ limits: { maxConnections: 4 } });
  let flooding = true;
  const flood = async () => {
    while (flooding) {
      const socket = connect(broker.port, "127.0.0.1").on("error", () => {});
      await new Promise((resolve) => socket.resume().on("close", resolve));
    }
  };
  const floods = Array.from({ length: 6 }, flood);
  await until(() => (broker.cutOff["too-many-connections"] ?? 0) > 20);
  await using gateway = openMqtt({ url: broker.url, clientId: "gateway", logger, reconnectMs: { first: 5, last: 10 } });
  await gateway.publish(topic, new Uint8Array(1));
  flooding = false;
  await broker[Symbol.asyncDispose]();
  await Promise.all(floods);
});

it.each([
  ["is no packet", [0x32, 3, 0, 9, 0x61]],
  ["connects twice", connectPacket],
  ["publishes with QoS 2", [0x34, 6, 0, 1, 0x74, 0, 1, 0]],
  ["publishes to a wildcard", [0x30, 4, 0, 1, 0x23, 0]],
])("closes the connection of a client that %s, and counts it once", async (_, packet) => {
  await using broker = await open();
  await (await stranger(broker.port, [...connectPacket, ...packet])).closed;
  expect(broker.cutOff).toEqual({ "protocol-error": 1 });
});

it("does not count it as an offence when a client is gone without a word", async () => {
  await using broker = await open();
  const client = await stranger(broker.port, connectPacket);
  await once(client.socket, "data");
  client.socket.resetAndDestroy();
  await until(() => broker.connectedClients === 0);
  expect(broker.cutOff).toEqual({});
});

it("ends connections that say nothing for one and a half times the longest keepalive, whatever they asked for", async () => {
  await using broker = await open({ limits: { maxKeepaliveSeconds: 0.05 } });
  await Promise.all([(await stranger(broker.port, connectAs("a", 0))).closed, (await stranger(broker.port, connectAs("b"))).closed]);
  expect([broker.connectedClients, broker.cutOff]).toEqual([0, { silent: 2 }]);
});

it("hands over a few messages of a client that sends without end, more as they are answered, and all of them in the end", async () => {
  const answers: (() => void)[] = [];
  let asked = 0;
  let most = 0;
  await using broker = await open({
    authorizePublish: () => {
      most = Math.max(most, ++asked - answered);
      return new Promise((resolve) => answers.push(resolve));
    },
  });
  let answered = 0;
  const sender = await mqtt.connectAsync(broker.url, { clientId: "greedy", reconnectPeriod: 0 });
  const total = 2000;
  const sent = Promise.all(Array.from({ length: total }, (_, i) => sender.publishAsync(topic, `${i}`, { qos: 1 })));
  await until(() => asked === 8);
  // A round trip on another connection: whatever else had been handed over would be here.
  await using other = openMqtt({ url: broker.url, clientId: "other", logger });
  await other.ready();
  expect(asked).toBe(8);
  while (answered < total) {
    await until(() => answers.length > 0);
    for (const answer of answers.splice(0)) {
      answered++;
      answer();
    }
  }
  await sent;
  expect(most).toBeGreaterThan(32);
  expect(most).toBeLessThanOrEqual(64);
  await sender.endAsync();
});

it("tells of many that were cut off for one reason in few lines, with their number", async () => {
  const lines: unknown[] = [];
  const recording = Object.assign(silentLogger(), { warn: (facts: object) => void lines.push(facts) });
  await using broker = await open({ logger: recording });
  for (let i = 0; i < 20; i++) await (await stranger(broker.port, [0x32])).closed;
  expect(broker.cutOff).toEqual({ "not-connect": 20 });
  expect(lines.length).toBeLessThanOrEqual(5);
  expect(lines[0]).toMatchObject({ reason: "not-connect", total: 1 });
});
