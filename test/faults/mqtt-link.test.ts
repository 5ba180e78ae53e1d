import { makeCredentials } from "@smile/cli/demo/credentials";
import { certificateHash } from "@smile/identity/check-certificate";
import { silentLogger } from "@smile/runtime/logging";
import { type Broker, startBroker } from "@smile/runtime/mqtt-broker";
import { type MqttConnection, openMqtt } from "@smile/runtime/mqtt-client";
import { fixedTls, type TlsMaterial } from "@smile/runtime/tls-files";
import { expect, it, vi } from "vitest";
import { MqttLink, type Passed } from "./mqtt-link.ts";

const logger = silentLogger();
const text = ({ payload }: { payload: Uint8Array }) => Buffer.from(payload).toString();

/** A client behind a link before a broker; what the broker was given, and what was acknowledged through the link. */
async function linked(opened: AsyncDisposableStack) {
  const taken: string[] = [];
  const acknowledged: string[] = [];
  const broker: Broker = opened.use(
    await startBroker({
      port: 0,
      logger,
      authorizePublish: async ({ payload }) => void taken.push(Buffer.from(payload).toString()),
      authorizeSubscribe: async () => true,
    }),
  );
  const onAcknowledged = (message: Passed) => void acknowledged.push(text(message));
  const link = opened.use(await MqttLink.open({ brokers: [1, broker.port], carries: "up", onAcknowledged }));
  const client: MqttConnection = opened.use(openMqtt({ url: link.url, clientId: "g", logger, reconnectMs: { first: 10, last: 20 } }));
  await client.ready();
  return { broker, link, client, taken, acknowledged };
}

it("passes messages on to the broker that answers, and tells of each acknowledgement", async () => {
  await using opened = new AsyncDisposableStack();
  const { link, client, taken, acknowledged } = await linked(opened);
  for (const each of ["a", "b"]) await client.publish("t", Buffer.from(each));
  expect(taken).toEqual(["a", "b"]);
  expect(acknowledged).toEqual(["a", "b"]);
  expect(link.captured.map(text)).toEqual(["a", "b"]);
});

it("swallows an acknowledgement and cuts the connection, so that the client sends again", async () => {
  await using opened = new AsyncDisposableStack();
  const { link, client, taken, acknowledged } = await linked(opened);
  const cut = link.cutBeforeAcknowledgement("g");
  await client.publish("t", Buffer.from("a"));
  await cut;
  expect(taken).toEqual(["a", "a"]);
  expect(acknowledged).toEqual(["a"]);
});

it("lets a message pass behind the next one", async () => {
  await using opened = new AsyncDisposableStack();
  const { link, client, taken } = await linked(opened);
  const swapped = link.swapNext("g");
  await Promise.all(["a", "b", "c"].map((each) => client.publish("t", Buffer.from(each))));
  await swapped;
  expect(taken).toEqual(["b", "a", "c"]);
});

it("holds everything back until it is released, in order", async () => {
  await using opened = new AsyncDisposableStack();
  const { link, client, taken } = await linked(opened);
  const held = link.hold("g");
  const published = Promise.all(["a", "b"].map((each) => client.publish("t", Buffer.from(each))));
  // Another client's acknowledgement shows that the held ones had the time to pass.
  await using other = openMqtt({ url: link.url, clientId: "other", logger });
  await other.publish("t", Buffer.from("x"));
  expect(taken).toEqual(["x"]);
  held.release();
  await published;
  expect(taken).toEqual(["x", "a", "b"]);
});

it("slips a message that was delivered before into a subscriber's connection", async () => {
  await using opened = new AsyncDisposableStack();
  const { broker } = await linked(opened);
  await using link = await MqttLink.open({ brokers: [broker.port], carries: "down" });
  const received: string[] = [];
  const twice = Promise.withResolvers<void>();
  const handle = async (_: string, payload: Uint8Array) => {
    received.push(Buffer.from(payload).toString());
    if (received.length === 1) link.slip("s", "scores", link.captured[0]!.payload);
    else twice.resolve();
  };
  await using subscriber = openMqtt({ url: link.url, clientId: "s", logger, subscribe: { filters: ["scores"], handle } });
  await subscriber.ready();
  await broker.publish("scores", Buffer.from("a"));
  await twice.promise;
  expect(received).toEqual(["a", "a"]);
});

const leases = ["g", "h"].map((gateway, i) => ({ gateway, firstLane: i, machines: [gateway] }));
const credentials = (plant: string) => makeCredentials(plant, leases, { kind: "keystore", version: 2, plant, keys: [], destroyed: [] });

/** A link between gateways and a broker that ask each other for certificates. */
async function linkedByTls(opened: AsyncDisposableStack) {
  const { registry, server, gateways } = await credentials("p");
  const taken: string[] = [];
  const acknowledged: Passed[] = [];
  const broker = opened.use(
    await startBroker({
      port: 0,
      logger,
      tls: { credentials: fixedTls(server), registry },
      authorizePublish: async ({ peer, payload }) => void taken.push(`${peer?.plant} ${peer?.name} ${Buffer.from(payload)}`),
    }),
  );
  const own = gateways.get("g")!.tls;
  const known = new Map([[certificateHash(own.certificate), own]]);
  const link = opened.use(
    await MqttLink.open({
      brokers: [broker.port],
      carries: "up",
      onAcknowledged: (message) => void acknowledged.push(message),
      tls: { server: { ...server, authority: own.authority! }, clientOf: (hash) => known.get(hash) },
    }),
  );
  const open = (tls: TlsMaterial, clientId: string) =>
    opened.use(openMqtt({ url: link.url, clientId, logger, tls: fixedTls(tls), reconnectMs: { first: 10, last: 20 } }));
  return { broker, server, gateways, link, taken, acknowledged, open, own, known };
}

it("is to the broker who its client is, and sees what passes under TLS on both sides", async () => {
  await using opened = new AsyncDisposableStack();
  const { link, open, own, taken, acknowledged } = await linkedByTls(opened);
  const client = open(own, "g");
  const cut = link.cutBeforeAcknowledgement("g");
  await client.publish("t", Buffer.from("a"));
  await cut;
  expect(taken).toEqual(["p g a", "p g a"]);
  expect(acknowledged.map((message) => [text(message), message.certificate])).toEqual([["a", certificateHash(own.certificate)]]);
});

it("lets nobody through whose key it has not, nor one whom the broker does not know", async () => {
  await using opened = new AsyncDisposableStack();
  const { broker, open, own, gateways, known, taken } = await linkedByTls(opened);
  const stranger = (await credentials("p")).gateways.get("g")!.tls;
  known.set(certificateHash(stranger.certificate), stranger);
  open({ ...stranger, authority: own.authority! }, "stranger");
  const unknown = open(gateways.get("h")!.tls, "h");
  await vi.waitUntil(() => (broker.cutOff["foreign-authority"] ?? 0) > 0);
  await open(own, "g").publish("t", Buffer.from("a"));
  expect(unknown.connected).toBe(false);
  expect(taken).toEqual(["p g a"]);
});

it("has every client look at a renewed certificate: one of a foreign authority keeps them out", async () => {
  await using opened = new AsyncDisposableStack();
  const { server, link, open, own, taken } = await linkedByTls(opened);
  const client = open(own, "g");
  await client.publish("t", Buffer.from("a"));
  link.renew((await credentials("p")).server);
  const published = client.publish("t", Buffer.from("b"));
  await vi.waitUntil(() => !client.connected);
  expect(taken).toEqual(["p g a"]);
  link.renew(server);
  await published;
  expect(taken).toEqual(["p g a", "p g b"]);
});
