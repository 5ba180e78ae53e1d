import { once } from "node:events";
import { createServer, connect as openSocket, type Server } from "node:net";
import { isPipelineError } from "@smile/errors/pipeline-error";
import mqtt from "mqtt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLogger, silentLogger } from "../src/logging.ts";
import { type Broker, type BrokerOptions, type Publication, startBroker } from "../src/mqtt-broker.ts";
import { type MqttOptions, openMqtt } from "../src/mqtt-client.ts";

const logger = silentLogger();
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (payload: Uint8Array) => new TextDecoder().decode(payload);
const topic = "smile/v1/plant/gateway/frames";
const reconnectMs = { first: 10, last: 40 };

/** Disposed in reverse order after each test: clients before their broker. */
let opened: AsyncDisposableStack;
beforeEach(() => {
  opened = new AsyncDisposableStack();
});
afterEach(() => opened.disposeAsync());

const broker = async (options: Partial<BrokerOptions> = {}) =>
  opened.use(await startBroker({ port: 0, logger, authorizePublish: async () => {}, ...options }));
const client = (url: string, options: Partial<MqttOptions> = {}) =>
  opened.use(openMqtt({ url, clientId: "gateway", logger, reconnectMs, ...options }));
const everyone = { authorizeSubscribe: async () => true };

/** Collects what comes, and resolves `count` once that many are there. */
function collector() {
  const got: string[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  return {
    got,
    add: (each: string) => {
      got.push(each);
      for (const { count, resolve } of waiting) if (got.length >= count) resolve();
    },
    count: (count: number) =>
      new Promise<void>((resolve) => {
        if (got.length >= count) resolve();
        waiting.push({ count, resolve });
      }),
  };
}

/** What the hook was asked, each waiting for its answer. */
function asked() {
  const arrived = collector();
  const answers: PromiseWithResolvers<void>[] = [];
  const authorizePublish = ({ payload }: Publication) => {
    const answer = Promise.withResolvers<void>();
    answers.push(answer);
    arrived.add(text(payload));
    return answer.promise;
  };
  return { arrived, answers, authorizePublish };
}

describe("the embedded broker", () => {
  it("acknowledges nothing before the hook has resolved", async () => {
    const hook = asked();
    const { url } = await broker(hook);
    const acknowledged: string[] = [];
    const publishing = client(url)
      .publish(topic, bytes("a"))
      .then(() => acknowledged.push("a"));
    await hook.arrived.count(1);
    // A round trip on another connection, begun after the message was held back: had there been a PUBACK, it would be here.
    await client(url, { clientId: "other" }).ready();
    expect(acknowledged).toEqual([]);
    hook.answers[0]!.resolve();
    await publishing;
    expect(acknowledged).toEqual(["a"]);
  });

  it("hands messages of a client over without waiting for each other, and acknowledges them in their order", async () => {
    const hook = asked();
    const { url } = await broker(hook);
    const connection = client(url);
    await connection.ready();
    const names = ["a", "b", "c", "d"];
    const acknowledged: string[] = [];
    const all = Promise.all(names.map((name) => connection.publish(topic, bytes(name)).then(() => acknowledged.push(name))));
    await hook.arrived.count(4);
    expect(hook.arrived.got).toEqual(names);
    for (const i of [3, 1, 2]) hook.answers[i]!.resolve();
    await client(url, { clientId: "other" }).ready();
    expect(acknowledged).toEqual([]);
    hook.answers[0]!.resolve();
    await all;
    expect(acknowledged).toEqual(names);
  });

  it("does not let one client's slow hook hold back another", async () => {
    const held = Promise.withResolvers<void>();
    const { url } = await broker({ authorizePublish: ({ clientId }) => (clientId === "slow" ? held.promise : Promise.resolve()) });
    const slow = client(url, { clientId: "slow" }).publish(topic, bytes("a"));
    await client(url, { clientId: "quick" }).publish(topic, bytes("b"));
    held.resolve();
    await slow;
  });

  it("gets everything again after the hook failed, in order and without loss", async () => {
    let failures = 0;
    const taken: number[] = [];
    const { url } = await broker({
      authorizePublish: async ({ payload }) => {
        const n = Number(text(payload));
        if ((n === 7 || n === 30) && failures < 3) {
          failures++;
          throw new Error("log unavailable");
        }
        taken.push(n);
      },
    });
    const connection = client(url);
    await Promise.all(Array.from({ length: 60 }, (_, n) => connection.publish(topic, bytes(`${n}`))));
    expect(failures).toBe(3);
    expect([...new Set(taken)].toSorted((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, n) => n));
    // Of each message, the last time it came is behind the last time its predecessor came: nothing old arrives late.
    const last = Array.from({ length: 60 }, (_, n) => taken.lastIndexOf(n));
    expect(last).toEqual(last.toSorted((a, b) => a - b));
  });

  it("closes the connection of a client whose hook takes too long, and takes the message when it comes again", async () => {
    let calls = 0;
    const { url } = await broker({
      hookTimeoutMs: 20,
      authorizePublish: () => (++calls === 1 ? new Promise(() => {}) : Promise.resolve()),
    });
    await client(url).publish(topic, bytes("a"));
    expect(calls).toBe(2);
  });

  it("takes many large messages with a window of 32, whatever the latency of the hook", async () => {
    const count = 600;
    const payload = new Uint8Array(43 * 1024);
    const taken: number[] = [];
    let most = 0;
    let open = 0;
    const { url } = await broker({
      authorizePublish: async ({ payload: received }) => {
        most = Math.max(most, ++open);
        taken.push(new DataView(received.buffer, received.byteOffset).getUint32(0));
        for (let turns = taken.length % 5; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
        open--;
        expect(received).toHaveLength(payload.length);
      },
    });
    const connection = client(url);
    const underWay = new Set<Promise<void>>();
    for (let n = 0; n < count; n++) {
      if (underWay.size === 32) await Promise.race(underWay);
      const own = payload.slice();
      new DataView(own.buffer).setUint32(0, n);
      const acknowledged = connection.publish(topic, own).then(() => void underWay.delete(acknowledged));
      underWay.add(acknowledged);
    }
    await Promise.all(underWay);
    expect(taken).toEqual(Array.from({ length: count }, (_, n) => n));
    expect(most).toBeLessThanOrEqual(32);
  });

  it("takes neither wills for messages nor retained messages into its memory", async () => {
    const hook = asked();
    const running = await broker({ ...hook, ...everyone });
    const will = { topic, payload: Buffer.from("last words"), qos: 1, retain: false } as const;
    const dying = await mqtt.connectAsync(running.url, { clientId: "dying", will, reconnectPeriod: 0 });
    const publishing = dying.publishAsync("scores", "kept?", { qos: 1, retain: true });
    await hook.arrived.count(1);
    hook.answers[0]!.resolve();
    await publishing;
    dying.stream.destroy();
    await until(() => running.connectedClients === 0);
    expect(hook.arrived.got).toEqual(["kept?"]);
    const got = collector();
    const handle = async (_: string, payload: Uint8Array) => got.add(text(payload));
    await client(running.url, { subscribe: { filters: ["scores"], handle } }).ready();
    await running.publish("scores", bytes("fresh"));
    await got.count(1);
    expect(got.got).toEqual(["fresh"]);
  });

  it("keeps nothing for a client that is away, whatever session it asked for", async () => {
    const running = await broker(everyone);
    const got = collector();
    const subscribe = { filters: ["scores"], handle: async (_: string, payload: Uint8Array) => got.add(text(payload)) };
    for (const name of ["while here", "here again"]) {
      await using connection = openMqtt({ url: running.url, clientId: "console", logger, persistentSession: true, subscribe });
      await connection.ready();
      await running.publish("scores", bytes(name));
      await got.count(name === "while here" ? 1 : 2);
      await connection[Symbol.asyncDispose]();
      await until(() => running.connectedClients === 0);
      await running.publish("scores", bytes("while away"));
    }
    expect(got.got).toEqual(["while here", "here again"]);
  });

  it("takes no message with QoS 2", async () => {
    const hook = asked();
    const running = await broker(hook);
    const sender = await mqtt.connectAsync(running.url, { reconnectPeriod: 0 });
    const closed = new Promise<void>((resolve) => void sender.once("close", () => resolve()));
    sender.publish(topic, "a", { qos: 2 });
    await closed;
    expect(hook.arrived.got).toEqual([]);
  });

  it("lets nobody subscribe unless told to", async () => {
    const { url } = await broker();
    const subscribe = { filters: ["#"], handle: async () => {} };
    await expect(client(url, { subscribe }).ready()).rejects.toSatisfy((error) => isPipelineError(error, "BROKER_REFUSED"));
  });

  it("lets a client subscribe only to what is granted, and hands its id over", async () => {
    const requests: string[] = [];
    const { url } = await broker({
      authorizeSubscribe: async (_, clientId, filter) => {
        requests.push(`${clientId} ${filter}`);
        return filter.startsWith(`smile/v1/${clientId}/`);
      },
    });
    await client(url, { clientId: "p1", subscribe: { filters: ["smile/v1/p1/scores"], handle: async () => {} } }).ready();
    const foreign = client(url, { clientId: "p2", subscribe: { filters: ["smile/v1/p1/scores"], handle: async () => {} } });
    await expect(foreign.ready()).rejects.toThrow("p2");
    expect(requests).toEqual(["p1 smile/v1/p1/scores", "p2 smile/v1/p1/scores"]);
  });

  it("says so when its port is taken", async () => {
    const { port } = await broker();
    await expect(broker({ port })).rejects.toSatisfy((error) => isPipelineError(error, "BROKER_DOWN") && error.message.includes(`${port}`));
  });

  it("lets hooks under way answer when it stops, ends every connection and frees the port", async () => {
    const hook = asked();
    const first = await startBroker({ port: 0, logger, ...hook });
    const silent = openSocket(first.port, first.host);
    await once(silent, "connect");
    const publishing = client(first.url).publish(topic, bytes("a"));
    await hook.arrived.count(1);
    const stopping = first[Symbol.asyncDispose]();
    hook.answers[0]!.resolve();
    const ended = silent.closed ? undefined : once(silent, "close");
    await stopping;
    await ended;
    await broker({ port: first.port });
    await publishing;
    await expect(first.publish(topic, bytes("b"))).rejects.toSatisfy((error) => isPipelineError(error, "STOPPED"));
  });
});

describe("the client", () => {
  it("receives what the broker publishes, one message after the other", async () => {
    const { url, publish } = await broker(everyone);
    const got = collector();
    let open = 0;
    const handle = async (from: string, payload: Uint8Array) => {
      expect(++open).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      open--;
      got.add(`${from} ${text(payload)}`);
    };
    await client(url, { subscribe: { filters: ["smile/v1/+/scores"], handle } }).ready();
    await Promise.all(["a", "b", "c"].map((name) => publish("smile/v1/p1/scores", bytes(name))));
    await got.count(3);
    expect(got.got).toEqual(["smile/v1/p1/scores a", "smile/v1/p1/scores b", "smile/v1/p1/scores c"]);
  });

  it("connects when the broker comes, keeps what was published before, and subscribes again after the broker was away", async () => {
    const port = await freePort();
    const got = collector();
    const fromBroker = collector();
    const hook = { authorizePublish: async ({ payload }: Publication) => got.add(text(payload)), ...everyone };
    const handle = async (_: string, payload: Uint8Array) => fromBroker.add(text(payload));
    const connection = client(`mqtt://127.0.0.1:${port}`, { subscribe: { filters: ["scores"], handle } });
    const early = connection.publish(topic, bytes("early"));
    expect(connection.connected).toBe(false);
    const cycle = async (name: string, work: (running: Broker) => Promise<void>) => {
      await using running = await startBroker({ port, logger, ...hook });
      await connection.ready();
      await running.publish("scores", bytes(name));
      await work(running);
    };
    await cycle("one", async () => {
      await early;
      await fromBroker.count(1);
    });
    await until(() => !connection.connected);
    const between = connection.publish(topic, bytes("between"));
    await cycle("two", async () => {
      await between;
      await connection.publish(topic, bytes("late"));
      await fromBroker.count(2);
    });
    expect(got.got).toEqual(["early", "between", "late"]);
    expect(fromBroker.got).toEqual(["one", "two"]);
  });

  it("refuses a message that is too large before it is sent, and goes on", async () => {
    const { url } = await broker();
    const connection = client(url, { maxPacketBytes: 1000 });
    await expect(connection.publish("t", new Uint8Array(1000))).rejects.toSatisfy((error) => isPipelineError(error, "MESSAGE_TOO_LARGE"));
    await connection.publish("t", new Uint8Array(990));
  });

  it("rejects what was not acknowledged when it is disposed, and whoever waits for it", async () => {
    const connection = client(`mqtt://127.0.0.1:${await freePort()}`);
    const pending = [connection.publish(topic, bytes("a")), connection.ready()];
    const outcomes = Promise.allSettled(pending);
    await connection[Symbol.asyncDispose]();
    for (const outcome of await outcomes) {
      expect(outcome.status === "rejected" && isPipelineError(outcome.reason, "STOPPED")).toBe(true);
    }
    await expect(connection.publish(topic, bytes("b"))).rejects.toSatisfy((error) => isPipelineError(error, "STOPPED"));
  });

  it("stops waiting for the broker when its signal is aborted", async () => {
    const connection = client(`mqtt://127.0.0.1:${await freePort()}`);
    await expect(connection.ready(AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });

  it("logs the address without the name and password that it may hold", async () => {
    const running = await broker();
    const lines: string[] = [];
    const recording = createLogger({ service: "gateway", to: { write: (line: string) => void lines.push(line) } });
    const url = running.url.replace("//", "//press:hush-hush@");
    await client(url, { logger: recording }).ready();
    await running[Symbol.asyncDispose]();
    await until(() => lines.some((line) => line.includes("trying again")));
    expect(lines.some((line) => line.includes(running.url))).toBe(true);
    expect(lines.filter((line) => /press|hush/.test(line))).toEqual([]);
  });

  it("insists on a keepalive that a held-back acknowledgement does not outlast", () => {
    expect(() => openMqtt({ url: "mqtt://127.0.0.1:1", clientId: "a", logger, keepaliveSeconds: 10 })).toThrow(RangeError);
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

async function freePort(): Promise<number> {
  const server: Server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
