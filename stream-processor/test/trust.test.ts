import { setImmediate as nextTurn } from "node:timers/promises";
import type { CertificateAndKey } from "@smile/identity/certify";
import { certificateHash } from "@smile/identity/check-certificate";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { type MqttOptions, openMqtt } from "@smile/runtime/mqtt-client";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { fixedTls } from "@smile/runtime/tls-files";
import { encodeCursor } from "@smile/schemas/cursor";
import { deadLetterCodec, deliveryCodec } from "@smile/schemas/envelopes";
import type { PlantRegister } from "@smile/schemas/plant-register";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import { cursorTopic, framesTopic, LOG_TOPICS, scoresTopic } from "@smile/schemas/topics";
import { beforeAll, expect, it } from "vitest";
import { tlsPlant, tlsService, withCredentials } from "../../runtime/test/fixture-tls.ts";
import { collect } from "../../test/support/collect.ts";
import { PLANT, type SmallDeployment, smallDeployment } from "../../test/support/small-deployment.ts";
import type { Endpoint } from "../src/endpoint.ts";
import { startStreamProcessor } from "../src/service.ts";

const logger = silentLogger();
const reconnectMs = { first: 10, last: 40 };
const resume = encodeCursor({ topicId: null, partition: null, next: null, resume: true });
const scoreOf = (payload: Uint8Array) => Buffer.from(deliveryCodec.decode(payload).score).toString();

let small: SmallDeployment;
let service: Awaited<ReturnType<typeof tlsService>>;
let other: Awaited<ReturnType<typeof tlsPlant>>;
/** Certificates of this plant's gateways g and h, and of its console. */
let own: { readonly g: CertificateAndKey; readonly h: CertificateAndKey; readonly console: CertificateAndKey };
let register: PlantRegister;
beforeAll(async () => {
  small = await smallDeployment();
  service = await tlsService();
  other = await tlsPlant("other", ["g"]);
  const authority = (await tlsPlant(PLANT, [])).authority;
  const issue = (role: PeerIdentity["role"], name: string) => issueClientCertificate(authority, { plant: PLANT, role, name, days: 10 });
  own = { g: await issue("gateway", "g"), h: await issue("gateway", "h"), console: await issue("console", "c") };
  const hashOf = (gateway: string) => (gateway === "g" || gateway === "h" ? certificateHash(own[gateway].certificate) : null);
  register = small.plant.next({
    certificateAuthority: authority.certificate,
    consoles: [{ console: "c", certificateHash: certificateHash(own.console.certificate), state: "active", untilMs: null }],
    gateways: small.plant.register.gateways.map((each) => ({
      ...each,
      credentials: each.credentials.map((one) => ({ ...one, certificateHash: hashOf(each.gateway) })),
    })),
  });
  return () => small[Symbol.dispose]();
});

async function start({ tls = true } = {}) {
  await using opened = new AsyncDisposableStack();
  const log = opened.use(await openTemporaryLog({ logger }));
  const credentials = fixedTls(await service.server());
  const endpoint: Endpoint = { host: "127.0.0.1", port: 0, tls: tls ? credentials : undefined };
  const plants = opened.use(new FixedRegistry([register, other.register]));
  const processor = opened.use(
    await startStreamProcessor({
      log,
      logger,
      deployments: [small.deployed.deployment],
      plants,
      frames: endpoint,
      scores: endpoint,
      limits: { lingerMs: 20, openPerKind: 4 },
      partitions: 1,
    }),
  );
  const clients = opened.use(new AsyncDisposableStack());
  const connect = (url: string, certificate: CertificateAndKey | null, options: Partial<MqttOptions> = {}) => {
    const shown = certificate === null ? {} : { tls: fixedTls({ ...certificate, authority: service.authority.certificate }) };
    return clients.use(openMqtt({ url, clientId: "client", logger, reconnectMs, ...shown, ...options }));
  };
  const owned = opened.move();
  return { log, plants, processor, connect, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const frameOf = (gateway: string, sequence: number) =>
  small.encode(small.frame(gateway, sequence, [{ lane: 0, features: small.window(sequence) }]));
const revoked = (gateway: string) =>
  small.plant.next({
    certificateAuthority: register.certificateAuthority,
    ...withCredentials(register, gateway, ([one]) => [{ ...one!, state: "revoked" }]),
  });

it("takes a gateway's frames over its own certificate, and no other topic's; refused ones say whose certificate it was", async () => {
  await using at = await start();
  const gateway = at.connect(at.processor.framesUrl, own.g);
  await gateway.publish(framesTopic(PLANT, "g"), frameOf("g", 0));
  await gateway.publish(framesTopic(PLANT, "h"), frameOf("h", 0)); // well signed, as if h's key had been stolen
  await gateway.publish(framesTopic("other", "g"), frameOf("g", 1));
  await at.connect(at.processor.framesUrl, own.console).publish(framesTopic(PLANT, "g"), frameOf("g", 2));
  expect(at.processor.framesUrl).toMatch(/^mqtts:/);
  expect(at.processor.counters.ingress.accepted).toBe(1);
  const letters = await collect(at.log, LOG_TOPICS.deadLetters, (records) => records.length >= 3);
  expect(letters.map(({ value }) => deadLetterCodec.decode(value))).toMatchObject([
    { code: "FRAME_WRONG_SENDER", plant: PLANT, gateway: "g" },
    { code: "FRAME_WRONG_SENDER", plant: PLANT, gateway: "g" },
    { code: "FRAME_WRONG_SENDER", plant: PLANT, gateway: "c" },
  ]);
});

it("gives nobody anything on the broker of frames, and a plant's scores to its own consoles only", async () => {
  await using at = await start();
  const { framesUrl, scoresUrl } = at.processor;
  const tries: readonly [url: string, certificate: CertificateAndKey, filter: string][] = [
    [framesUrl, own.g, framesTopic(PLANT, "g")],
    [framesUrl, own.g, framesTopic(PLANT, "h")],
    [framesUrl, own.console, "#"],
    [scoresUrl, own.g, scoresTopic(PLANT)],
    [scoresUrl, own.console, scoresTopic("other")],
    [scoresUrl, own.console, "smile/v1/+/scores"],
    [scoresUrl, other.console, scoresTopic(PLANT)],
  ];
  for (const [url, certificate, filter] of tries) {
    const client = at.connect(url, certificate, { subscribe: { filters: [filter], handle: async () => {} } });
    await expect(client.ready(), filter).rejects.toThrow(/BROKER_REFUSED/);
  }
});

it("hears a plant's cursor from its own consoles only, and delivers to them", async () => {
  await using at = await start();
  await at.log.append([{ topic: LOG_TOPICS.scores, key: PLANT, value: Buffer.from("1") }]);
  const { scoresUrl, counters } = at.processor;
  const received: string[] = [];
  const handle = async (_: string, payload: Uint8Array) => void received.push(scoreOf(payload));
  const console = at.connect(scoresUrl, own.console, { subscribe: { filters: [scoresTopic(PLANT)], handle } });
  await console.ready();
  await at.connect(scoresUrl, own.g).publish(cursorTopic(PLANT), resume);
  await at.connect(scoresUrl, other.console).publish(cursorTopic(PLANT), resume);
  expect((await at.processor.plantLags("streams")).size).toBe(0);
  await console.publish(cursorTopic(PLANT), resume);
  while (received.length === 0) await nextTurn();
  expect(received).toEqual(["1"]);
  expect(counters.egress.deliveries).toBe(1);
});

it("ends a revoked gateway's connection at once and takes nothing of it any more, while its neighbour goes on", async () => {
  await using at = await start();
  const { framesUrl, counters, endpoints } = at.processor;
  const [g, h] = [at.connect(framesUrl, own.g, { clientId: "g" }), at.connect(framesUrl, own.h, { clientId: "h" })];
  await g.publish(framesTopic(PLANT, "g"), frameOf("g", 0));
  await h.publish(framesTopic(PLANT, "h"), frameOf("h", 0));
  at.plants.replace(revoked("g"));
  while (endpoints.frames.cutOff.withdrawn !== 1) await nextTurn();
  g.publish(framesTopic(PLANT, "g"), frameOf("g", 1)).catch(() => {}); // never acknowledged
  while (endpoints.frames.cutOff["not-registered"] === undefined) await nextTurn();
  await h.publish(framesTopic(PLANT, "h"), frameOf("h", 1));
  expect(counters.ingress.accepted).toBe(3);
  expect(g.connected).toBe(false);
});

it("without TLS, too, takes nothing of a gateway that was revoked while it is connected", async () => {
  await using at = await start({ tls: false });
  const gateway = at.connect(at.processor.framesUrl, null);
  await gateway.publish(framesTopic(PLANT, "g"), frameOf("g", 0));
  at.plants.replace(revoked("g"));
  await gateway.publish(framesTopic(PLANT, "g"), frameOf("g", 1));
  expect(at.processor.counters.ingress.accepted).toBe(1);
  expect(at.processor.counters.ingress.refused).toEqual({ SENDER_UNKNOWN: 1 });
});

it("takes a frame whose register is there and not read yet", async () => {
  await using at = await start({ tls: false });
  const { plant } = at.plants.find(PLANT)!;
  at.plants.replace(revoked("g"));
  // A register in a file: nobody has looked since it changed.
  at.plants.refresh = (name) => {
    if (name === plant) at.plants.replace(small.plant.next({ gateways: register.gateways }));
    return at.plants.find(name);
  };
  await at.connect(at.processor.framesUrl, null).publish(framesTopic(PLANT, "g"), frameOf("g", 0));
  expect(at.processor.counters.ingress.accepted).toBe(1);
  expect(at.processor.counters.ingress.refused).toEqual({});
});

it("lets a plant over its quota wait, and nobody else", async () => {
  await using log = await openTemporaryLog({ logger });
  const loopback = { host: "127.0.0.1", port: 0 };
  await using processor = await startStreamProcessor({
    log,
    logger,
    deployments: [small.deployed.deployment],
    plants: new FixedRegistry([register, other.register]),
    frames: loopback,
    scores: loopback,
    limits: { lingerMs: 20, openPerKind: 4 },
    partitions: 1,
    quota: { framesPerSecond: 2, bytesPerSecond: 1 << 20 },
  });
  await using busy = openMqtt({ url: processor.framesUrl, clientId: "busy", logger });
  await using calm = openMqtt({ url: processor.framesUrl, clientId: "calm", logger });
  await Promise.all([busy.ready(), calm.ready()]);
  const acknowledged: string[] = [];
  const frames = Array.from({ length: 5 }, async (_, i) => {
    await busy.publish(framesTopic(PLANT, "g"), frameOf("g", i));
    acknowledged.push(`busy ${i}`);
  });
  await frames[1];
  // Refused, as all of its frames here would be: what counts is that the answer does not wait.
  await calm.publish(framesTopic("other", "g"), Buffer.from("nonsense"));
  acknowledged.push("calm");
  await Promise.all(frames);
  expect(acknowledged.indexOf("calm")).toBeLessThan(acknowledged.indexOf("busy 4"));
  expect(acknowledged.filter((each) => each !== "calm")).toEqual(["busy 0", "busy 1", "busy 2", "busy 3", "busy 4"]);
  expect(processor.counters.ingress.accepted).toBe(5);
  expect(processor.counters.ingress.quotaWaitSeconds[PLANT]).toBeGreaterThan(1);
});

const beyond = { host: "0.0.0.0", port: 0 };
const elsewhere = { broker: "mqtt://broker.example:1883", clientId: "c" };
it.each([
  ["listen for frames", { frames: beyond }],
  ["listen for consoles", { scores: beyond }],
  ["fetch frames from a broker", { frames: elsewhere }],
  ["send scores to a broker", { scores: elsewhere }],
])("does not %s beyond this machine without TLS", async (_, endpoints) => {
  using small = await smallDeployment();
  await using log = await openTemporaryLog({ logger });
  const loopback = { host: "127.0.0.1", port: 0 };
  const open = { frames: loopback, scores: loopback, ...endpoints };
  const deployments = [small.deployed.deployment];
  const options = { log, logger, deployments, plants: new FixedRegistry([]), limits: { lingerMs: 20, openPerKind: 4 }, partitions: 1 };
  await expect(startStreamProcessor({ ...options, ...open })).rejects.toThrow(/TLS_REQUIRED/);
});
