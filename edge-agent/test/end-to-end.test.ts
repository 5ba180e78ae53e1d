import { spawn } from "node:child_process";
import { generateKeyPairSync, hash, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { paramsId } from "@smile/he/params";
import { createAuthority } from "@smile/identity/authority";
import type { CertificateAndKey } from "@smile/identity/certify";
import { certificateHash } from "@smile/identity/check-certificate";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { writeJsonFile } from "@smile/runtime/json-file";
import { silentLogger } from "@smile/runtime/logging";
import { type Broker, startBroker } from "@smile/runtime/mqtt-broker";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { fixedTls } from "@smile/runtime/tls-files";
import { publicHalf } from "@smile/schemas/ed25519";
import { frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { identityHash } from "@smile/schemas/plant-register";
import { isPartSigned } from "@smile/schemas/signing";
import { framesTopic } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { freePort } from "../../test/support/free-port.ts";
import { openMqttFrameSender } from "../src/mqtt-frame-sender.ts";
import { RowQueue } from "../src/row-queue.ts";
import { startEdgeAgent } from "../src/service.ts";
import {
  agentConfig,
  contentOf,
  deployment,
  deploymentDocument,
  expectedContent,
  lanes,
  lease,
  newFolder,
  type OpenedFrame,
  openFrame,
  signingKey,
  someRows,
} from "./fixture.ts";

const logger = silentLogger();
const rows = someRows(40);

/** A plant's broker that remembers what it acknowledged, and may be slow, or gone for a while. */
class Ingress {
  readonly frames = new Map<string, OpenedFrame>();
  topics = new Set<string>();
  #broker: Broker | undefined;
  #port = 0;
  #waiting: { least: number; resolve: () => void }[] = [];

  async start(): Promise<string> {
    this.#broker = await startBroker({
      port: this.#port,
      logger,
      authorizePublish: async ({ topic, payload }) => {
        const frame = openFrame(payload);
        await new Promise((resolve) => setTimeout(resolve, 2)); // a slow log
        this.topics.add(topic);
        this.frames.set(frame.id, frame);
        for (const { least, resolve } of this.#waiting) if (this.frames.size >= least) resolve();
      },
    });
    this.#port = this.#broker.port;
    return this.#broker.url;
  }

  async stop(): Promise<void> {
    await this.#broker?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async atLeast(frames: number): Promise<void> {
    if (this.frames.size >= frames) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ least: frames, resolve });
    await promise;
  }
}

it("delivers every window through a broker with a slow hook that goes away and comes back", async () => {
  await using ingress = new Ingress();
  const url = await ingress.start();
  const source = new RowQueue({ capacity: 8, largestBatch: 4 });
  const truth: string[] = [];
  const openSender = async () =>
    openMqttFrameSender({ url, plant: "plant", gateway: "gateway-1", logger, reconnectMs: { first: 5, last: 20 } });
  await using agent = await startEdgeAgent(agentConfig(join(newFolder(), "edge.db"), { window: 4 }), { source, openSender }, logger, {
    onWindow: (window, _, lane, block) => truth.push(`${window.endMs} ${block * lanes + lane} ${window.features.join(",")}`),
  });
  for (const row of rows.slice(0, 120)) await source.push(row);
  await ingress.atLeast(3);
  await ingress.stop();
  for (const row of rows.slice(120)) await source.push(row);
  source.end();
  await ingress.start();
  await agent.done;

  expect([...ingress.topics]).toEqual([framesTopic("plant", "gateway-1")]);
  expect(contentOf(ingress.frames.values())).toEqual(truth.toSorted());
  expect(truth.length).toBe(agent.counters.windows);
  expect(agent.counters).toMatchObject({ rows: rows.length, framedWindows: truth.length, published: agent.counters.frames, late: 0 });
  expect(agent.counters.frames).toBe(ingress.frames.size);
  expect(agent.spool).toEqual({ frames: 0, bytes: 0 });
  expect(source.acknowledged).toBe(rows.length);
});

it("refuses to start where the broker cannot take the deployment's frames", async () => {
  const config = agentConfig(join(newFolder(), "edge.db"), { largestEnvelopeBytes: 2000 });
  const openSender = () => Promise.reject(new Error("not reached"));
  await expect(startEdgeAgent(config, { source: new RowQueue(), openSender }, logger)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

it("seals what waits longer than the linger, and refuses rows of machines without a lane", async () => {
  await using ingress = new Ingress();
  const url = await ingress.start();
  const source = new RowQueue();
  const openSender = async () => openMqttFrameSender({ url, plant: "plant", gateway: "gateway-1", logger });
  const config = agentConfig(join(newFolder(), "edge.db"), { lingerMs: 10, largestOpenEnds: 1000 });
  await using agent = await startEdgeAgent(config, { source, openSender }, logger);
  for (const row of rows.filter(({ machine }) => machine === "m0")) await source.push(row);
  await source.push({ ...rows[0]!, machine: "nobody" });
  await ingress.atLeast(10); // while the other machine of the block has not come and the source has not ended
  source.end();
  await agent.done;
  expect([...ingress.frames.values()].every(({ block, windows }) => block === 0 && windows.every(({ lane }) => lane === 2))).toBe(true);
  expect(agent.counters.refused.unknownMachine).toBe(1);
});

const ids = { plant: "plant", gateway: "gateway-1", paramsId: paramsId(paramsFromDocument(deployment.params)) };
/** The identity scheme has one key only; keys differ by the id that the public half would have. */
const publicHalfOf = (name: string) => Buffer.from(`public half of ${name}`);
const keyIdOf = (name: string) => hash("sha256", publicHalfOf(name));

function putKey(folder: string, name: string): void {
  const secretKey = Buffer.from(IDENTITY_KEY).toString("base64");
  const key = { kind: "gateway-secret-key", version: 1, ...ids, keyId: keyIdOf(name), secretKey };
  writeJsonFile(join(folder, "key.json"), key, 0o600);
}

function putSigningKey(folder: string, key: KeyObject): void {
  const secretKey = key.export({ format: "der", type: "pkcs8" }).toString("base64");
  const file = { kind: "signing-key", version: 1, owner: "gateway-1", publicKey: publicHalf(key), secretKey };
  writeJsonFile(join(folder, "signing-key.json"), file, 0o600);
}

/** The files that `main.ts` needs, beside a telemetry file. */
function installAgent(url: string, source: object = { kind: "file", path: "rows.ndjson" }, more: object = {}): string {
  const folder = newFolder();
  const put = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  put("deployment.json", deploymentDocument("symmetric"));
  putKey(folder, "one");
  putSigningKey(folder, signingKey);
  writeFileSync(join(folder, "rows.ndjson"), `{broken\n${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
  put("edge.json", {
    plant: "plant",
    gateway: "gateway-1",
    deployment: "deployment.json",
    lease: { gateway: "gateway-1", ...lease },
    key: "key.json",
    signingKey: "signing-key.json",
    mqtt: { url, window: 2 },
    store: "edge.db",
    source,
    lingerMs: 60_000,
    ...more,
  });
  return folder;
}

const runMain = (folder: string, ...more: string[]) => {
  const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
  return spawn(process.execPath, [main, "--config", join(folder, "edge.json"), ...more], { stdio: ["pipe", "ignore", "pipe"] });
};

it("as a process, killed in mid-delivery and started again, has delivered every window once", async () => {
  await using ingress = new Ingress();
  const folder = installAgent(await ingress.start());
  const killed = runMain(folder);
  killed.stderr.resume();
  await ingress.atLeast(5);
  killed.kill("SIGKILL");
  await once(killed, "exit");

  const second = runMain(folder);
  let log = "";
  second.stderr.on("data", (chunk) => {
    log += chunk;
  });
  expect(await once(second, "exit"), log).toEqual([0, null]);
  expect(contentOf(ingress.frames.values())).toEqual(expectedContent(rows));
  expect(new Set([...ingress.frames.values()].map(({ epoch }) => epoch)).size).toBe(1);
  expect(log).toContain('"line":1');
  expect(log).not.toContain("broken");
});

it("stops on SIGTERM while standard input is silent, and takes up the same rows again without repeating a window", async () => {
  await using ingress = new Ingress();
  const folder = installAgent(await ingress.start(), { kind: "stdin", atEnd: "flush" });
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`);
  const first = runMain(folder);
  first.stderr.resume();
  first.stdin.write(lines.slice(0, 150).join(""));
  await ingress.atLeast(3);
  first.kill("SIGTERM");
  expect(await once(first, "exit")).toEqual([0, null]);

  const second = runMain(folder);
  second.stderr.resume();
  second.stdin.end(lines.join(""));
  expect(await once(second, "exit")).toEqual([0, null]);
  expect(contentOf(ingress.frames.values())).toEqual(expectedContent(rows));
});

it.each(["key.json", "signing-key.json"])("refuses %s when others may read it, with exit code 78", async (file) => {
  const folder = installAgent("mqtt://127.0.0.1:1");
  chmodSync(join(folder, file), 0o644);
  const child = runMain(folder);
  let log = "";
  child.stderr.on("data", (chunk) => {
    log += chunk;
  });
  expect(await once(child, "exit")).toEqual([78, null]);
  expect(log).toContain("mode 0600");
});

it("as a process, over TLS, takes new keys and a new certificate from its files while it runs, and refuses a key that is not registered", async () => {
  const [service, authority] = await Promise.all(["service", "plant"].map((name) => createAuthority({ name, days: 3 })));
  const server = await issueServerCertificate(service!, { hosts: ["127.0.0.1"], days: 2 });
  const peer = { plant: "plant", role: "gateway", name: "gateway-1" } as const;
  const certificates = await Promise.all([1, 2].map((days) => issueClientCertificate(authority!, { ...peer, days })));
  const signers = [signingKey, generateKeyPairSync("ed25519").privateKey];
  const gateways = [{ gateway: "gateway-1", lanes: { first: 0, count: 8 } }];
  const keys = ["one", "two"].map((name) => {
    return { paramsId: ids.paramsId, keyId: keyIdOf(name), publicKey: publicHalfOf(name), gateway: "gateway-1" };
  });
  const plant = fixturePlant({ plant: "plant", gateways, keys });
  const credentials = signers.map((key, i) => {
    const { certificate } = certificates[i]!;
    return { signingKey: publicHalf(key), certificateHash: certificateHash(certificate), state: "active" as const, untilMs: null };
  });
  const register = plant.next({ certificateAuthority: authority!.certificate, gateways: [{ ...gateways[0]!, credentials }] });

  const frames = new Map<number, { keyId: string; opened: OpenedFrame; signer: number }>();
  let came = Promise.withResolvers<void>();
  await using broker = await startBroker({
    port: 0,
    logger,
    tls: { credentials: fixedTls(server), registry: new FixedRegistry([register]) },
    authorizePublish: async ({ payload }) => {
      const frame = frameCodec.decode(payload);
      const signer = signers.findIndex((key) => isPartSigned(frame, frame, [key]));
      frames.set(frame.sequence, { keyId: frame.keyId, opened: openFrame(payload, signers), signer });
      came.resolve();
      came = Promise.withResolvers();
    },
  });
  const health = { port: await freePort() };
  const folder = installAgent(
    broker.url,
    { kind: "stdin", atEnd: "flush" },
    {
      ...{ register: "register.json", identity: identityHash(register.identity), service: "service.json", health },
      tls: { certificate: "certificate.pem", key: "tls-key.pem" },
    },
  );
  writeJsonFile(join(folder, "register.json"), register);
  writeJsonFile(join(folder, "service.json"), {
    ...{ kind: "service", version: 1, name: "service", framesUrl: broker.url, scoresUrl: broker.url },
    ...{ certificateAuthority: service!.certificate, scoreSigners: [publicHalf(signingKey)], reads: { frame: [1], gap: [1] } },
  });
  const putCertificate = ({ certificate, key }: CertificateAndKey) => {
    writeFileSync(join(folder, "tls-key.pem"), key, { mode: 0o600 });
    writeFileSync(join(folder, "certificate.pem"), certificate);
  };
  putCertificate(certificates[0]!);
  const child = runMain(folder);
  let log = "";
  const waiting = new Map<string, () => void>();
  child.stderr.on("data", (chunk) => {
    log += chunk;
    for (const [words, resolve] of waiting) if (log.includes(words)) resolve();
  });
  const said = (words: string) => new Promise<void>((resolve) => waiting.set(words, resolve));
  const part = Math.ceil(rows.length / 3);
  const feed = (index: number) => {
    const lines = rows.slice(index * part, (index + 1) * part).map((row) => `${JSON.stringify(row)}\n`);
    child.stdin.write(lines.join(""));
  };
  feed(0);
  while (frames.size === 0) await came.promise;
  const refused = said("are refused");
  putKey(folder, "stranger");
  await refused;
  feed(1);
  const changes = ["windows are encrypted under another key", '"files":"signing_key"', "took the renewed TLS files"];
  const taken = Promise.all(changes.map(said));
  putKey(folder, "two");
  putSigningKey(folder, signers[1]!);
  putCertificate(certificates[1]!);
  await taken;
  feed(2);
  const metrics = await (await fetch(`http://127.0.0.1:${health.port}/metrics`)).text();
  child.stdin.end();
  expect(await once(child, "exit"), log).toEqual([0, null]);

  const all = [...frames.entries()].toSorted(([a], [b]) => a - b).map(([, frame]) => frame);
  expect(contentOf(all.map(({ opened }) => opened))).toEqual(expectedContent(rows));
  const [first, last] = [all[0]!, all.at(-1)!];
  expect([first.keyId, first.signer, last.keyId, last.signer]).toEqual([keyIdOf("one"), 0, keyIdOf("two"), 1]);
  expect(new Set(all.map(({ keyId }) => keyId)).size).toBe(2);
  expect(log).toContain("KEY_MISMATCH");
  for (const files of ["encryption_key", "signing_key", "tls"]) {
    expect(metrics).toContain(`smile_edge_agent_keys_reloaded_total{files="${files}"} 1\n`);
  }
  expect(metrics).toContain('smile_edge_agent_keys_refused_total{files="encryption_key"} 1\n');
  expect(Number(/^smile_edge_agent_certificate_remaining_seconds (\S+)$/m.exec(metrics)?.[1])).toBeGreaterThan(86_400);
});
