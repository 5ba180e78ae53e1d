import { silentLogger } from "@smile/runtime/logging";
import { type Broker, startBroker } from "@smile/runtime/mqtt-broker";
import { type MqttConnection, openMqtt } from "@smile/runtime/mqtt-client";
import { expect, it } from "vitest";
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
