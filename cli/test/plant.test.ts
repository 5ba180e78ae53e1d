import { once } from "node:events";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createServer, type TLSSocket } from "node:tls";
import { readKeystore } from "@smile/custody/keystore";
import { PlantSecrets } from "@smile/custody/plant/plant-document";
import { readSealed } from "@smile/custody/sealed-file";
import { certificateHash } from "@smile/identity/check-certificate";
import { readAudit, verifyAudit } from "@smile/runtime/audit-log";
import { openRegister } from "@smile/schemas/plant-register";
import { type PeerIdentity, RegisteredPlant } from "@smile/schemas/registered-plant";
import type { ServiceDocument } from "@smile/schemas/service-document";
import type { SigningKey } from "@smile/schemas/signing-key";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { smile, startSmile } from "../../test/support/smile-process.ts";
import { type Desk, desk, PASSPHRASE } from "./operator-and-plant.ts";

type Made = { identityHash: string; serial: number; next: string | null };

const init = ["plant", "init", "--plant", "north", "--deployment", "deployment.json", "--out", "north"];
const withService = [...init, "--service", "operator/service.json"];
const inPlant = ["--plant-folder", "north"];
const registered = ({ read }: Desk, identityHash: string) =>
  new RegisteredPlant(openRegister(read("north", "register.json"), identityHash, "register"));

/** A plant with two gateways and the service that it belongs to, each from nothing. */
async function plantWithTwoGateways(at: Desk, ...service: string[]): Promise<Made> {
  await at.json("service", "init", "--out", "operator", ...service);
  const made = await at.json<Made>(...withService);
  await at.json("plant", "add-gateway", "hall-1", "--machines", "press-1", "press-2", ...inPlant);
  await at.json("plant", "add-gateway", "hall-2", "--machines", "oven-1", ...inPlant);
  return made;
}

/** Accepts TLS connections of this machine, and tells whose certificates the plant's register names. */
async function listen() {
  const peers: (string | undefined)[] = [];
  let registeredPlant: RegisteredPlant | undefined;
  const arrived = new Set<() => void>();
  const server = createServer({ requestCert: true, rejectUnauthorized: true }, (socket: TLSSocket) => {
    const hash = socket.getPeerX509Certificate()!.fingerprint256.replaceAll(":", "").toLowerCase();
    const peer: PeerIdentity | undefined = registeredPlant?.peerAt(hash, Date.now());
    peers.push(peer && `${peer.role} ${peer.name} of ${peer.plant}`);
    socket.on("error", () => {});
    for (const each of arrived) each();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `mqtts://localhost:${(server.address() as AddressInfo).port}`,
    trust(folder: string, plant: RegisteredPlant) {
      registeredPlant = plant;
      const [cert, key] = ["certificate.pem", "key.pem"].map((file) => readFileSync(join(folder, file), "utf8"));
      server.setSecureContext({ cert: cert!, key: key!, ca: plant.register.certificateAuthority! });
    },
    async until(peer: string): Promise<void> {
      while (!peers.includes(peer)) {
        const { promise, resolve } = Promise.withResolvers<void>();
        arrived.add(resolve);
        await promise;
      }
    },
    [Symbol.dispose]: () => server.close(),
  };
}

describe("a plant from nothing", () => {
  let at: Desk;
  let broker: Awaited<ReturnType<typeof listen>>;
  let identityHash: string;
  beforeAll(async () => {
    at = await desk();
    broker = await listen();
    const made = await plantWithTwoGateways(at, "--host", "localhost", "--frames-url", broker.url, "--scores-url", broker.url);
    ({ identityHash } = made);
  }, 120_000);
  afterAll(() => {
    broker[Symbol.dispose]();
    at[Symbol.dispose]();
  });

  it("has agents and a console that start as they are, and whom its service knows by their certificates", async () => {
    broker.trust(join(at.folder, "operator/stream-processor"), registered(at, identityHash));
    const start = (service: string, config: string, env: Record<string, string>) =>
      startSmile([service, "--config", config], { cwd: at.folder, env, stdin: "pipe" });
    await using agent = start("edge-agent", "north/gateways/hall-1/edge-agent.json", {});
    await using other = start("edge-agent", "north/gateways/hall-2/edge-agent.json", {});
    await using console = start("plant-console", "north/console/plant-console.json", {});
    const ended = [agent, other, console].map(async (each) => {
      throw new Error(`ended early: ${JSON.stringify(await each.ended)}`);
    });
    const known = ["gateway hall-1 of north", "gateway hall-2 of north", "console console of north"].map((peer) => broker.until(peer));
    await Promise.race([Promise.all(known), ...ended]);
    for (const each of ended) each.catch(() => {});
  });

  it("tells the service neither machines nor secrets, and nobody else the secrets", async () => {
    const plant = registered(at, identityHash);
    expect(plant.register.serial).toBe(3);
    expect([plant.lanesOf("hall-1"), plant.lanesOf("hall-2")]).toEqual([
      { first: 0, count: 2 },
      { first: 2, count: 1 },
    ]);
    const text = (path: string) => readFileSync(join(at.folder, path), "latin1");
    const secrets = await readSealed(join(at.folder, "north/secrets.json"), "plant-secrets", PlantSecrets, PASSPHRASE);
    const { keys } = await readKeystore(join(at.folder, "north/keystore.json"), PASSPHRASE);
    const pem = (path: string) => text(path).split("\n")[1]!;
    const secret = {
      "north/secrets.json": secrets.identityKey,
      "north/keystore.json": keys[0]!.secretKey.slice(0, 64),
      "north/gateways/hall-1/signing-key.json": at.read<SigningKey>("north/gateways/hall-1/signing-key.json").secretKey,
      "north/gateways/hall-1/key.pem": pem("north/gateways/hall-1/key.pem"),
      "operator/model-service/signing-key.json": at.read<SigningKey>("operator/model-service/signing-key.json").secretKey,
      "operator/authority-key.pem": pem("operator/authority-key.pem"),
      "operator/stream-processor/key.pem": pem("operator/stream-processor/key.pem"),
    };
    const files = readdirSync(at.folder, { recursive: true, encoding: "utf8" }).filter((path) => statSync(join(at.folder, path)).isFile());
    for (const path of files) {
      for (const [home, value] of Object.entries(secret)) if (path !== home) expect(text(path), path).not.toContain(value);
      if (path !== "passphrase") expect(text(path), path).not.toContain(PASSPHRASE);
    }
    for (const path of Object.keys(secret)) expect(statSync(join(at.folder, path)).mode & 0o777, path).toBe(0o600);
    for (const path of ["north/register.json", "north/service.json", "operator/service.json", "north/audit.db"])
      expect(text(path), path).not.toMatch(/press-|oven-/);
    expect(verifyAudit(join(at.folder, "north/audit.db")).entries).toBeGreaterThan(8);
    const actions = [...readAudit(join(at.folder, "north/audit.db"))].map(({ action }) => action);
    expect(actions.filter((action) => action === "gateway-added" || action === "register-exported")).toEqual([
      "register-exported",
      "gateway-added",
      "register-exported",
      "gateway-added",
      "register-exported",
    ]);
  });

  it("is not made a second time, nor its service, nor a gateway", async () => {
    const twice = [
      withService,
      ["service", "init", "--out", "operator"],
      ["plant", "add-gateway", "hall-1", "--machines", "other", ...inPlant],
    ];
    const before = readFileSync(join(at.folder, "north/register.json"), "utf8");
    for (const args of twice)
      expect(await at.run(...args)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("CONFIG_INVALID") });
    expect(readFileSync(join(at.folder, "north/register.json"), "utf8")).toBe(before);
    expect(registered(at, identityHash).register.serial).toBe(3);
  });

  it("says what happened and the next step, in words and as JSON", async () => {
    using at = await desk();
    const operator = await at.run("service", "init", "--out", "operator");
    const service = /^service ([0-9a-f]{64})/m.exec(operator.stdout)?.[1];
    expect(operator.stdout).toMatch(/next: give operator\/service\.json to the plants/);
    const made = await at.run(...withService);
    const identity = /^identity ([0-9a-f]{64})$/m.exec(made.stdout)?.[1];
    expect(made.stdout).toMatch(/next: tell the operator the identity hash/);
    expect(made.stdout).toContain(`service  ${service}`);
    const exported = await at.json<Made & { register: string }>("plant", "export-public", "--out", "for-service.json", ...inPlant);
    expect(exported).toMatchObject({ plant: "north", serial: 2, identityHash: identity, register: "for-service.json" });
    expect(exported.next).toContain("pins the identity hash");
    expect(openRegister(at.read("for-service.json"), identity!, "copy").serial).toBe(2);
    const status = await at.run("plant", "status", ...inPlant);
    expect(status.stdout).toContain("plant north, register 2");
    expect((await at.json<{ todo: string[] }>("plant", "status", ...inPlant)).todo).toEqual([]);
  });
});

describe("a plant's life", () => {
  it("rotates keys, renews and revokes a gateway, each in its steps", async () => {
    using at = await desk();
    const { identityHash } = await plantWithTwoGateways(at);
    const keyId = () => at.read<{ keyId: string }>("north/gateways/hall-1/public-key.json").keyId;
    const old = keyId();
    await at.json("plant", "rotate-keys", ...inPlant);
    expect(keyId()).toBe(old);
    await at.json("plant", "activate-keys", "--retain-days", "0", ...inPlant);
    expect(keyId()).not.toBe(old);
    const { destroyed } = await at.json<{ destroyed: { keyId: string }[] }>("plant", "destroy-keys", ...inPlant);
    expect(destroyed.map((key) => key.keyId)).toEqual([old]);
    expect(registered(at, identityHash).register.keys.map((key) => key.keyId)).toEqual([keyId()]);

    const hash = () => certificateHash(readFileSync(join(at.folder, "north/gateways/hall-1/certificate.pem"), "utf8"));
    const first = hash();
    await at.json("plant", "renew-gateway", "hall-1", ...inPlant);
    expect(hash()).toBe(first);
    const { next } = await at.json<Made>("plant", "activate-gateway", "hall-1", "--retain-days", "1", ...inPlant);
    expect(next).toContain("north/gateways/hall-1");
    const states = () => registered(at, identityHash).register.gateways[0]!.credentials.map(({ state }) => state);
    expect([hash() === first, ...states()]).toEqual([false, "retiring", "active"]);
    await at.json("plant", "revoke-gateway", "hall-1", ...inPlant);
    expect(states()).toEqual(["revoked", "revoked"]);
  });

  it("gives requests to an authority of the plant's own", async () => {
    using at = await desk();
    await at.json("service", "init", "--out", "operator");
    await at.json("service", "init", "--out", "corporate");
    const made = await at.json<Made>(...withService, "--authority", "corporate/authority.pem");
    expect(made.next).toMatch(/request\.pem signed.*accept-certificate/);
    const added = await at.json<Made & { request: string }>("plant", "add-gateway", "hall-1", "--machines", "a", ...inPlant);
    expect(readFileSync(join(at.folder, added.request), "utf8")).toContain("BEGIN CERTIFICATE REQUEST");
    const accept = ["plant", "accept-certificate", "hall-1", "--certificate", "operator/stream-processor/certificate.pem", ...inPlant];
    expect(await at.run(...accept)).toMatchObject({ code: 1, stderr: expect.stringContaining("CERTIFICATE_INVALID") });
  });

  it("in symmetric mode gives every gateway its own secret key", async () => {
    using at = await desk({ keyMode: "symmetric" });
    await at.json(...init, "--without-tls");
    await at.json("plant", "add-gateway", "hall-1", "--machines", "a", ...inPlant);
    const files = readdirSync(join(at.folder, "north/gateways/hall-1")).sort();
    expect(files).toEqual(["deployment.json", "edge-agent.json", "gateway-key.json", "lease.json", "register.json", "signing-key.json"]);
    expect(statSync(join(at.folder, "north/gateways/hall-1/gateway-key.json")).mode & 0o777).toBe(0o600);
    await at.json("service", "init", "--out", "operator", "--without-tls");
    await at.json("plant", "use-service", "operator/service.json", ...inPlant);
    const { mqtt } = at.read<{ mqtt: object }>("north/gateways/hall-1/edge-agent.json");
    expect(mqtt).toEqual({ url: "mqtt://localhost:1883" });
  });
});

describe("refusals", () => {
  it("tells a wrong passphrase from a missing and a short one, and never repeats one", async () => {
    using at = await desk();
    const args = [...init, "--without-tls"];
    const cwd = at.folder;
    const nothing = { SMILE_PASSPHRASE_FILE: "", SMILE_PASSPHRASE: "" };
    // Without a terminal nobody is asked.
    expect(await smile(args, { cwd, env: nothing })).toMatchObject({ code: 1, stderr: expect.stringContaining("PASSPHRASE_MISSING") });
    const short = await smile(args, { cwd, env: { ...nothing, SMILE_PASSPHRASE: "geese" } });
    expect(short).toMatchObject({ code: 1, stderr: expect.stringContaining("at least 8 characters") });
    expect(readdirSync(cwd)).not.toContain("north");
    await at.json(...args);
    writeFileSync(join(cwd, "wrong"), "nine summer geese", { mode: 0o600 });
    const wrong = await at.run("plant", "rotate-keys", "--passphrase-file", "wrong", ...inPlant);
    expect(wrong).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("PASSPHRASE_WRONG") });
    for (const { stderr } of [short, wrong]) expect(stderr).not.toMatch(/geese/);
    writeFileSync(join(cwd, "open"), PASSPHRASE, { mode: 0o644 });
    const open = await at.run("plant", "rotate-keys", "--passphrase-file", "open", ...inPlant);
    expect(open).toMatchObject({ code: 1, stderr: expect.stringContaining("0600") });
  });
});

describe("smile service", () => {
  it("renews the brokers' certificate by the same authority, for the same hosts", async () => {
    using at = await desk();
    await at.json("service", "init", "--out", "operator", "--host", "smile.example.org", "192.0.2.7", "--name", "Example");
    const service = at.read<ServiceDocument>("operator/service.json");
    expect(service).toMatchObject({
      name: "Example",
      framesUrl: "mqtts://smile.example.org:8883",
      scoresUrl: "mqtts://smile.example.org:8884",
    });
    expect(service.scoreSigners).toEqual([at.read<SigningKey>("operator/model-service/signing-key.json").publicKey]);
    const certificate = () => readFileSync(join(at.folder, "operator/stream-processor/certificate.pem"), "utf8");
    const first = certificate();
    expect(await at.json("service", "renew", "--folder", "operator")).toMatchObject({ hosts: ["smile.example.org", "192.0.2.7"] });
    expect(certificate()).not.toBe(first);
    expect(at.read("operator/service.json")).toEqual(service);
  });
});

it("shows an example in the help of every command", async () => {
  const plant =
    "init add-gateway accept-certificate renew-gateway renew-console activate-gateway activate-console revoke-gateway rotate-keys activate-keys destroy-keys export-public use-service use-deployment status";
  const commands = [...plant.split(" ").map((name) => ["plant", name]), ["service", "init"], ["service", "renew"]];
  const helps = await Promise.all(commands.map((command) => smile([...command, "--help"])));
  helps.forEach(({ code, stdout }, i) => {
    expect(code).toBe(0);
    expect(stdout).toContain(`Example: smile ${commands[i]!.join(" ")}`);
  });
});
