import { createPrivateKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { createServer, connect as openSocket } from "node:net";
import { connect as openTls, type TLSSocket } from "node:tls";
import { createAuthority } from "@smile/identity/authority";
import type { CertificateAndKey } from "@smile/identity/certify";
import { certificateHash } from "@smile/identity/check-certificate";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import mqtt from "mqtt";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { silentLogger } from "../src/logging.ts";
import { type Broker, type BrokerOptions, type Publication, startBroker } from "../src/mqtt-broker.ts";
import { openMqtt } from "../src/mqtt-client.ts";
import { FixedRegistry } from "../src/plant-registry.ts";
import { fixedTls, type TlsMaterial, type TlsSource } from "../src/tls-files.ts";
import { type TlsPlant, tlsPlant, tlsService, withCredentials } from "./fixture-tls.ts";

const logger = silentLogger();
const topic = "smile/v1/north/press/frames";
const reconnectMs = { first: 10, last: 40 };
const bytes = (text: string) => new TextEncoder().encode(text);
const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

let service: Awaited<ReturnType<typeof tlsService>>;
let server: TlsMaterial;
let north: TlsPlant;
let south: TlsPlant;
beforeAll(async () => {
  service = await tlsService();
  [server, north, south] = await Promise.all([service.server(), tlsPlant("north", ["press", "saw"]), tlsPlant("south", ["press"])]);
});

/** Disposed in reverse order after each test: clients before their broker. */
let opened: AsyncDisposableStack;
let registry: FixedRegistry;
beforeEach(() => {
  opened = new AsyncDisposableStack();
  registry = new FixedRegistry([north.register, south.register]);
});
afterEach(() => opened.disposeAsync());

/** Material that a test renews. */
class Renewable implements TlsSource {
  readonly #listeners: (() => void)[] = [];
  current: TlsMaterial;
  constructor(current: TlsMaterial) {
    this.current = current;
  }
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
  renew(current: TlsMaterial): void {
    this.current = current;
    for (const listener of this.#listeners) listener();
  }
}

async function broker(options: Partial<BrokerOptions> = {}, credentials: TlsSource = fixedTls(server)) {
  return opened.use(await startBroker({ port: 0, logger, authorizePublish: async () => {}, tls: { credentials, registry }, ...options }));
}
const trusting = (own: CertificateAndKey): TlsMaterial => ({ ...own, authority: service.authority.certificate });
function client(url: string, own: CertificateAndKey, options: Partial<Parameters<typeof openMqtt>[0]> = {}) {
  return opened.use(openMqtt({ url, clientId: "client", logger, reconnectMs, tls: fixedTls(trusting(own)), ...options }));
}
const gateway = (plant: TlsPlant, name = "press") => plant.gateways.get(name)!;

/** A bare TLS connection, and when it was closed. */
function raw({ port }: Broker, own?: { certificate: string; key: string }, options: object = {}) {
  const shown = own === undefined ? {} : { cert: own.certificate, key: own.key };
  const socket = openTls({ port, host: "127.0.0.1", ca: service.authority.certificate, ...shown, ...options });
  socket.on("error", () => {}).resume();
  return { socket, closed: new Promise<void>((resolve) => socket.on("close", () => resolve())) };
}

describe("a broker with TLS", () => {
  it("tells its hook whose certificate a message came with, and acknowledges as ever", async () => {
    const got: [string, PeerIdentity | null][] = [];
    const running = await broker({ authorizePublish: async ({ clientId, peer }) => void got.push([clientId, peer]) });
    expect(running.url).toMatch(/^mqtts:/);
    await client(running.url, gateway(north), { clientId: "a" }).publish(topic, bytes("x"));
    await client(running.url, south.console, { clientId: "b" }).publish(topic, bytes("x"));
    expect(got).toEqual([
      ["a", { plant: "north", role: "gateway", name: "press" }],
      ["b", { plant: "south", role: "console", name: "console" }],
    ]);
    expect(running.cutOff).toEqual({});
  });

  it("grants and forwards by the peer, and gives nobody what another plant may have", async () => {
    const asked: unknown[] = [];
    const running = await broker({
      authorizeSubscribe: async (peer, _, filter) => peer?.role === "console" && filter === `smile/v1/${peer.plant}/scores`,
      authorizeForward: (peer, clientId, name) => {
        asked.push([peer?.plant, clientId, name]);
        return name === `smile/v1/${peer?.plant}/scores`;
      },
    });
    const got: string[] = [];
    const subscribe = (plant: string) => ({
      filters: [`smile/v1/${plant}/scores`],
      handle: async (name: string) => void got.push(`${plant} ${name}`),
    });
    await client(running.url, north.console, { subscribe: subscribe("north") }).ready();
    await client(running.url, south.console, { subscribe: subscribe("south") }).ready();
    await expect(client(running.url, south.console, { clientId: "thief", subscribe: subscribe("north") }).ready()).rejects.toThrow();
    await running.publish("smile/v1/north/scores", bytes("x"));
    await until(() => got.length === 1);
    expect(got).toEqual(["north smile/v1/north/scores"]);
    expect(asked).toEqual([["north", "client", "smile/v1/north/scores"]]);
  });

  it("forwards nothing that authorizeForward refuses, though it was subscribed to", async () => {
    const running = await broker({ authorizeSubscribe: async () => true, authorizeForward: (_, __, name) => name !== "secret" });
    const got: string[] = [];
    const handle = async (name: string) => void got.push(name);
    await client(running.url, north.console, { subscribe: { filters: ["#"], handle } }).ready();
    await running.publish("secret", bytes("x"));
    await running.publish("public", bytes("x"));
    await until(() => got.includes("public"));
    expect(got).toEqual(["public"]);
  });

  it("binds client ids to certificates: the same id of two peers throws nobody out, that of one peer its former connection", async () => {
    const running = await broker();
    const clientId = "smile-edge-a-b-c";
    const ours = await mqtt.connectAsync(running.url, mqttOptions(gateway(north), clientId));
    const closed = new Promise<void>((resolve) => void ours.once("close", () => resolve()));
    const others = [gateway(north, "saw"), gateway(south), north.console].map((own) => client(running.url, own, { clientId }));
    await Promise.all(others.map((each) => each.ready()));
    expect([running.connectedClients, ours.connected]).toEqual([4, true]);
    await client(running.url, gateway(north), { clientId }).ready();
    await closed;
    expect([running.connectedClients, others.every(({ connected }) => connected)]).toEqual([4, true]);
  });

  it("lets clients of one peer leave their ids to the broker without meeting", async () => {
    const ids = new Set<string>();
    const running = await broker({ authorizePublish: async ({ clientId }) => void ids.add(clientId) });
    for (let i = 0; i < 2; i++) {
      const anonymous = raw(running, gateway(north));
      anonymous.socket.write(Uint8Array.from([0x10, 12, 0, 4, ...Buffer.from("MQTT"), 4, 2, 0, 60, 0, 0, 0x32, 5, 0, 1, 0x74, 0, 1]));
      await once(anonymous.socket, "data");
    }
    await until(() => ids.size === 2);
    expect(running.connectedClients).toBe(2);
  });

  it("takes TLS 1.2 and 1.3, nothing older, and resumes no session", async () => {
    const running = await broker();
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const sessions: Buffer[] = [];
      const first = raw(running, gateway(north), { minVersion: version, maxVersion: version });
      first.socket.on("session", (session: Buffer) => void sessions.push(session));
      await once(first.socket, "secureConnect");
      expect(first.socket.getProtocol()).toBe(version);
      first.socket.write(connectPacket);
      await once(first.socket, "data");
      const session = sessions.at(-1) ?? first.socket.getSession();
      const again = raw(running, gateway(north), { minVersion: version, maxVersion: version, session });
      await once(again.socket, "secureConnect");
      expect(again.socket.isSessionReused()).toBe(false);
      again.socket.write(connectPacket);
      await once(again.socket, "data");
      for (const { socket } of [first, again]) socket.destroy();
    }
    await raw(running, gateway(north), { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }).closed;
    expect(running.cutOff).toEqual({ "failed-handshake": 1 });
  });

  it("takes many large messages over TLS, in their order", async () => {
    const taken: number[] = [];
    const number = (payload: Uint8Array) => new DataView(payload.buffer, payload.byteOffset).getUint32(0);
    const running = await broker({ authorizePublish: async ({ payload }) => void taken.push(number(payload)) });
    const connection = client(running.url, gateway(north));
    const sent = Array.from({ length: 200 }, (_, n) => {
      const payload = new Uint8Array(43 * 1024);
      new DataView(payload.buffer).setUint32(0, n);
      return connection.publish(topic, payload);
    });
    await Promise.all(sent);
    expect(taken).toEqual(Array.from({ length: 200 }, (_, n) => n));
  });
});

describe("who is refused by a broker with TLS", () => {
  const stranger = async (plant: string) =>
    issueClientCertificate(await createAuthority({ name: "stranger", days: 1 }), { plant, role: "gateway", name: "press", days: 1 });
  const issued = (plant: TlsPlant, change: object = {}) =>
    issueClientCertificate(plant.authority, { plant: plant.plant, role: "gateway", name: "press", days: 1, ...change });

  it.each<[string, () => Promise<CertificateAndKey | undefined>, string]>([
    ["no certificate", async () => undefined, "no-certificate"],
    ["a stranger's certificate that names a plant", () => stranger("north"), "foreign-authority"],
    ["a certificate that names a plant that is not registered", () => stranger("west"), "plant-unknown"],
    ["another plant's authority behind a certificate that names this plant", () => issued(south, { plant: "north" }), "foreign-authority"],
    ["a certificate of the plant's authority that its register does not hold", () => issued(north), "not-registered"],
    ["a server's certificate", () => issueServerCertificate(north.authority, { hosts: ["north"], days: 1 }), "plant-unknown"],
    ["the authority's own certificate", async () => north.authority, "plant-unknown"],
  ])("is one with %s: cut off, counted, and no neighbour notices", async (_, make, reason) => {
    const got: Publication[] = [];
    const running = await broker({ authorizePublish: async (each) => void got.push(each) });
    const neighbour = client(running.url, gateway(south));
    await neighbour.ready();
    const intruder = raw(running, await make());
    intruder.socket.write(connectPacket);
    await intruder.closed;
    expect(running.cutOff).toEqual({ [reason]: 1 });
    await neighbour.publish(topic, bytes("x"));
    expect([got.map(({ peer }) => peer?.plant), running.connectedClients]).toEqual([["south"], 1]);
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("is one who shows a gateway's certificate without its key, in %s", async (version) => {
    const codes: unknown[] = [];
    const recording = Object.assign(silentLogger(), { warn: ({ code }: { code?: unknown }) => void codes.push(code) });
    const running = await broker({ logger: recording });
    const { certificate } = gateway(north);
    // Another key that claims the certificate's public half: so the client's own TLS does not refuse the two together.
    const { x, y } = new X509Certificate(certificate).publicKey.export({ format: "jwk" });
    const { d } = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
    const forged = createPrivateKey({ key: { kty: "EC", crv: "P-256", x: x!, y: y!, d: d! }, format: "jwk" });
    const key = forged.export({ format: "pem", type: "pkcs8" }).toString();
    const intruder = raw(running, { certificate, key }, { minVersion: version, maxVersion: version });
    await intruder.closed;
    expect([running.cutOff, codes]).toEqual([{ "failed-handshake": 1 }, [expect.stringContaining("SIGNATURE")]]);
  });

  it("is one whose certificate has ended, or is not in force yet", async () => {
    const dayMs = 86_400_000;
    const ended = await issued(north, { nowMs: Date.now() - 10 * dayMs });
    const early = await issued(north, { nowMs: Date.now() + 10 * dayMs });
    const active = { ...north.register.gateways[0]!.credentials[0]! };
    const credentials = [ended, early].map(({ certificate }) => ({ ...active, certificateHash: certificateHash(certificate) }));
    registry.replace({ ...north.register, ...withCredentials(north.register, "press", (before) => [...before, ...credentials]) });
    const running = await broker();
    for (const own of [ended, early]) await raw(running, own).closed;
    expect(running.cutOff).toEqual({ "certificate-not-in-force": 2 });
    await client(running.url, gateway(north)).ready();
  });

  it("is nobody else because another plant's register claims its certificate and authority, or names an authority like its own", async () => {
    const claimed = certificateHash(gateway(north).certificate);
    const thief = await tlsPlant("alpha", ["press"], "north authority");
    const claims = withCredentials(thief.register, "press", ([own]) => [{ ...own!, certificateHash: claimed }]);
    const certificateAuthority = north.authority.certificate + thief.authority.certificate;
    registry = new FixedRegistry([{ ...thief.register, ...claims, certificateAuthority }, north.register]);
    const got: (PeerIdentity | null)[] = [];
    const running = await broker({ authorizePublish: async ({ peer }) => void got.push(peer) });
    await client(running.url, gateway(north)).publish(topic, bytes("x"));
    expect(got).toEqual([{ plant: "north", role: "gateway", name: "press" }]);
    expect(running.cutOff).toEqual({});
  });

  it("is only a plant's own peer when its register holds an authority that is none", async () => {
    registry.replace({ ...south.register, certificateAuthority: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" });
    const running = await broker();
    await raw(running, gateway(south)).closed;
    expect(running.cutOff).toEqual({ "foreign-authority": 1 });
    await client(running.url, gateway(north)).ready();
  });

  it("is cut off the moment that a register revokes it, and nobody else is", async () => {
    const running = await broker({ authorizeSubscribe: async () => true });
    const revoked = client(running.url, gateway(north));
    const others = [client(running.url, gateway(north, "saw")), client(running.url, gateway(south))];
    await Promise.all([revoked, ...others].map((each) => each.ready()));
    registry.replace({
      ...north.register,
      ...withCredentials(north.register, "press", (all) => all.map((each) => ({ ...each, state: "revoked" as const }))),
    });
    await until(() => !revoked.connected && (running.cutOff["not-registered"] ?? 0) > 0);
    expect(running.cutOff.withdrawn).toBe(1);
    expect(others.map(({ connected }) => connected)).toEqual([true, true]);
    registry.replace(north.register);
    await revoked.ready();
  });

  it("is cut off when the time of its retiring certificate is over, without a new register", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
    try {
      const retiring = { state: "retiring" as const, untilMs: Date.now() + 30_000 };
      registry.replace({ ...north.register, ...withCredentials(north.register, "press", ([own]) => [{ ...own!, ...retiring }]) });
      const running = await broker();
      const admitted = raw(running, gateway(north));
      await once(admitted.socket, "secureConnect");
      const other = raw(running, gateway(north, "saw"));
      await once(other.socket, "secureConnect");
      admitted.socket.write(connectPacket);
      other.socket.write(connectPacket);
      await Promise.all([once(admitted.socket, "data"), once(other.socket, "data")]);
      vi.advanceTimersByTime(60_000);
      await admitted.closed;
      expect([running.cutOff, other.socket.closed]).toEqual([{ withdrawn: 1 }, false]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("is told so in its own log, once", async () => {
    const running = await broker();
    const lines: string[] = [];
    const recording = Object.assign(silentLogger(), { warn: (_: object, text: string) => void lines.push(text) });
    client(running.url, await issued(north), { logger: recording });
    await until(() => (running.cutOff["not-registered"] ?? 0) > 2 && lines.length > 0);
    expect(lines).toEqual(["closed before an answer: the broker may not know this certificate; trying again"]);
  });

  it("is a plant's connection beyond its number; a peer's newer one takes the place of its oldest", async () => {
    const running = await broker({ limits: { maxConnectionsPerPlant: 2 } });
    const first = raw(running, gateway(north));
    await once(first.socket, "secureConnect");
    const second = raw(running, gateway(north));
    await once(second.socket, "secureConnect");
    await raw(running, gateway(north, "saw")).closed;
    expect(running.cutOff).toEqual({ "too-many-of-plant": 1 });
    const third = client(running.url, gateway(north));
    await Promise.all([third.ready(), first.closed]);
    expect([running.cutOff, second.socket.closed]).toEqual([{ "too-many-of-plant": 2 }, false]);
    await client(running.url, gateway(south)).ready();
  });

  it("is who speaks no TLS, or takes too long to, or says nothing", async () => {
    const running = await broker({ limits: { handshakeTimeoutMs: 100 } });
    const neighbour = client(running.url, gateway(south));
    await neighbour.ready();
    const plain = openSocket(running.port, "127.0.0.1").on("error", () => {});
    plain.resume().write(connectPacket);
    const silent = openSocket(running.port, "127.0.0.1").on("error", () => {});
    silent.resume();
    const slow = openSocket(running.port, "127.0.0.1").on("error", () => {});
    // The beginning of a record that holds a ClientHello of 512 bytes, a byte at a time.
    const hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, ...Array<number>(100).fill(7)];
    const drip = setInterval(() => slow.write(Uint8Array.of(hello.shift() ?? 7)), 10);
    await Promise.all([plain, silent, slow].map((socket) => new Promise((resolve) => socket.resume().on("close", resolve))));
    clearInterval(drip);
    expect(running.cutOff).toEqual({ "failed-handshake": 1, "late-handshake": 2 });
    await neighbour.publish(topic, bytes("x"));
  });

  it("is who has shown a certificate and then says nothing, or what is no MQTT", async () => {
    const running = await broker({ limits: { connectTimeoutMs: 100 } });
    const talker = raw(running, gateway(north));
    talker.socket.write("GET / HTTP/1.1\r\n\r\n");
    await Promise.all([raw(running, gateway(north)).closed, talker.closed]);
    expect(running.cutOff).toEqual({ "late-connect": 1, "not-connect": 1 });
  });

  it("is who vanishes without a word after CONNECT, or dribbles a record of TLS from there on", async () => {
    const running = await broker({ limits: { maxKeepaliveSeconds: 0.1 } });
    const gone = raw(running, gateway(north));
    gone.socket.write(connectPacket);
    const below = openSocket(running.port, "127.0.0.1");
    const slow = raw(running, gateway(south), { socket: below });
    slow.socket.write(connectPacket);
    await once(slow.socket, "data");
    below.write(Uint8Array.of(0x17, 3, 3, 0x40, 0)); // application data of 16 KiB
    const drip = setInterval(() => below.write(Uint8Array.of(0)), 10);
    await Promise.all([gone.closed, slow.closed]);
    clearInterval(drip);
    expect([running.cutOff, running.connectedClients]).toEqual([{ silent: 2 }, 0]);
  });

  it("is who speaks TLS to a port without it", async () => {
    const running = await broker({ tls: undefined });
    await raw(running, gateway(north)).closed;
    expect(running.cutOff).toEqual({ "not-connect": 1 });
  });

  it("is everyone when the broker stops, whether in a handshake or before CONNECT", async () => {
    const running = await startBroker({
      port: 0,
      logger,
      authorizePublish: async () => {},
      tls: { credentials: fixedTls(server), registry },
    });
    const silent = openSocket(running.port, "127.0.0.1").on("error", () => {});
    await once(silent.resume(), "connect");
    const admitted = raw(running, gateway(north));
    await once(admitted.socket, "secureConnect");
    const ended = Promise.all([once(silent, "close"), admitted.closed]);
    await running[Symbol.asyncDispose]();
    await ended;
  });
});

describe("a client with TLS", () => {
  it("does not connect to a broker whose certificate another authority issued, or that was issued for another host", async () => {
    const impostor = await tlsService();
    const foreign = await broker({}, fixedTls(await impostor.server()));
    const elsewhere = await broker({}, fixedTls(await service.server(["broker.example"])));
    for (const running of [foreign, elsewhere]) {
      const errors: string[] = [];
      const refused = Promise.withResolvers<void>();
      const listening = Object.assign(silentLogger(), {
        warn: ({ err }: { err: NodeJS.ErrnoException }) => {
          errors.push(err.code ?? "");
          refused.resolve();
        },
      });
      const connection = client(running.url, gateway(north), { logger: listening });
      await refused.promise;
      expect(errors[0]).toMatch(running === foreign ? /SIGNATURE|SELF_SIGNED|ISSUER/ : /ERR_TLS_CERT_ALTNAME_INVALID/);
      expect(connection.connected).toBe(false);
    }
    expect([foreign.connectedClients, elsewhere.connectedClients]).toEqual([0, 0]);
  });

  it("connects by name, too", async () => {
    const running = await broker();
    await client(running.url.replace("127.0.0.1", "localhost"), gateway(north)).ready();
  });

  it("loses nothing and keeps the order when its certificate is renewed while it publishes", async () => {
    const taken: number[] = [];
    const seen = new Set<string>();
    let hashes = "";
    const running = await broker({
      authorizePublish: async ({ payload, peer }) => {
        seen.add(`${peer?.name} ${hashes}`);
        await new Promise((resolve) => setImmediate(resolve));
        taken.push(Number(new TextDecoder().decode(payload)));
      },
    });
    const renewed = await issueClientCertificate(north.authority, { plant: "north", role: "gateway", name: "press", days: 5 });
    const both = withCredentials(north.register, "press", (all) => [
      ...all,
      { ...all[0]!, certificateHash: certificateHash(renewed.certificate) },
    ]);
    registry.replace({ ...north.register, ...both });
    const files = new Renewable(trusting(gateway(north)));
    const connection = client(running.url, gateway(north), { tls: files });
    await connection.ready();
    const count = 200;
    const sent: Promise<void>[] = [];
    for (let n = 0; n < count; n++) {
      sent.push(connection.publish(topic, bytes(`${n}`)));
      if (n === 50) await until(() => taken.length > 5);
      if (n === 100) files.renew(trusting(renewed));
      if (n === 150) {
        await connection.ready();
        // Only the renewed one is left: whoever still showed the old one would be refused from here on.
        hashes = "renewed";
        registry.replace({ ...north.register, ...withCredentials({ ...north.register, ...both }, "press", (all) => all.slice(1)) });
      }
    }
    await Promise.all(sent);
    expect([...new Set(taken)].toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, n) => n));
    const last = Array.from({ length: count }, (_, n) => taken.lastIndexOf(n));
    expect(last).toEqual(last.toSorted((a, b) => a - b));
    expect(seen).toContain("press renewed");
    expect(running.cutOff).not.toHaveProperty("not-registered");
  });

  it("takes up the new certificate also between two attempts to connect", async () => {
    const renewed = await issueClientCertificate(north.authority, { plant: "north", role: "gateway", name: "press", days: 5 });
    registry.replace({
      ...north.register,
      ...withCredentials(north.register, "press", ([own]) => [{ ...own!, certificateHash: certificateHash(renewed.certificate) }]),
    });
    const running = await broker();
    const files = new Renewable(trusting(gateway(north)));
    const connection = client(running.url, gateway(north), { tls: files });
    await until(() => (running.cutOff["not-registered"] ?? 0) > 1);
    files.renew(trusting(renewed));
    await connection.publish(topic, bytes("x"));
  });

  it("goes on while the broker renews its certificate; who comes later is shown the new one", async () => {
    const files = new Renewable(server);
    const running = await broker({}, files);
    const connection = client(running.url, gateway(north));
    await connection.ready();
    const renewed = await service.server();
    files.renew(renewed);
    const later = raw(running, gateway(south));
    await once(later.socket, "secureConnect");
    expect(shown(later.socket)).toBe(certificateHash(renewed.certificate));
    await connection.publish(topic, bytes("x"));
    expect(connection.connected).toBe(true);
  });

  it("refuses an address beyond this machine without TLS, and certificates for an address without TLS", () => {
    const options = { clientId: "a", logger };
    expect(() => openMqtt({ ...options, url: "mqtt://broker.example:1883" })).toThrow(/TLS_REQUIRED/);
    expect(() => openMqtt({ ...options, url: "mqtt://127.0.0.1:1", tls: fixedTls(server) })).toThrow(/CONFIG_INVALID/);
  });
});

it("does not listen beyond this machine without TLS, unless told so in so many words", async () => {
  const options = { port: 0, host: "0.0.0.0", logger, authorizePublish: async () => {} };
  await expect(startBroker(options)).rejects.toThrow(/TLS_REQUIRED/);
  await expect(startBroker({ ...options, withoutTls: "yes" })).rejects.toThrow(/TLS_REQUIRED/);
  await using open = await startBroker({ ...options, withoutTls: "anyone on this network may read and change this traffic" });
  await using secure = await startBroker({ ...options, tls: { credentials: fixedTls(server), registry } });
  expect([open.url, secure.url].map((url) => new URL(url).protocol)).toEqual(["mqtt:", "mqtts:"]);
});

it("leaves its port free after it could not start", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  await expect(broker({ port })).rejects.toThrow(/BROKER_DOWN/);
  taken.close();
  await once(taken, "close");
  await broker({ port });
});

/** CONNECT of MQTT 3.1.1 with client id "a", a clean session and a keepalive of 60 s. */
const connectPacket = Uint8Array.from([0x10, 13, 0, 4, ...Buffer.from("MQTT"), 4, 2, 0, 60, 0, 1, 0x61]);

function shown(socket: TLSSocket): string {
  return socket.getPeerX509Certificate()!.fingerprint256.replaceAll(":", "").toLowerCase();
}

function mqttOptions({ certificate, key }: CertificateAndKey, clientId: string) {
  return { clientId, cert: certificate, key, ca: service.authority.certificate, reconnectPeriod: 0 };
}
