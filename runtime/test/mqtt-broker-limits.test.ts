import { once } from "node:events";
import { connect, type Socket } from "node:net";
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
  const closed = once(socket, "close");
  await once(socket, "connect");
  socket.resume();
  if (bytes.length > 0) socket.write(Uint8Array.from(bytes));
  return { socket, closed };
}

/** CONNECT of MQTT 3.1.1 with client id "a", a clean session and a keepalive of 60 s. */
const connectPacket = [0x10, 13, 0, 4, ...Buffer.from("MQTT"), 4, 2, 0, 60, 0, 1, 0x61];

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

it("takes no more connections than it may, and one again when another has gone", async () => {
  await using broker = await open({ limits: { maxConnections: 2 } });
  await using gateway = openMqtt({ url: broker.url, clientId: "gateway", logger });
  await gateway.ready();
  const second = await stranger(broker.port);
  await (await stranger(broker.port)).closed;
  expect(broker.cutOff).toEqual({ "too-many-connections": 1 });
  await gateway.publish(topic, new Uint8Array(1));
  second.socket.destroy();
  await second.closed;
  await using another = openMqtt({ url: broker.url, clientId: "another", logger, reconnectMs: { first: 10, last: 20 } });
  await another.ready();
});

it("ends connections that say nothing for one and a half times the longest keepalive, whatever they asked for", async () => {
  await using broker = await open({ limits: { maxKeepaliveSeconds: 0.05 } });
  const endless = [...connectPacket];
  endless[11] = 0; // keepalive 0: never
  await Promise.all([(await stranger(broker.port, endless)).closed, (await stranger(broker.port, connectPacket)).closed]);
  expect(broker.connectedClients).toBe(0);
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
