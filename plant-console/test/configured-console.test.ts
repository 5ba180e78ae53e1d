import { generateKeyPairSync } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addEpoch } from "@smile/custody/keystore";
import { createAuthority } from "@smile/identity/authority";
import { certificateHash } from "@smile/identity/check-certificate";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { readAudit, verifyAudit } from "@smile/runtime/audit-log";
import { silentLogger } from "@smile/runtime/logging";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { WITHOUT_TLS } from "@smile/runtime/tls-config";
import { fixedTls } from "@smile/runtime/tls-files";
import { publicHalf } from "@smile/schemas/ed25519";
import { scoreCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { PlantRegister } from "@smile/schemas/plant-register";
import { signFrame, signScore } from "@smile/schemas/signing";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { loadConsoleConfig } from "../src/config.ts";
import { startConfiguredConsole } from "../src/configured-console.ts";
import type { StoredRisk } from "../src/store.ts";
import { startFixtureEgress } from "./fixture-egress.ts";
import { type FixtureFiles, PASSPHRASE, serviceDocument, writeFixtureFiles } from "./fixture-files.ts";
import { type FixturePlant, features, openFixturePlant, PLANT } from "./fixture-plant.ts";

const leases = [{ gateway: "g1", firstLane: 0, machines: ["m0", "m1"] }];
const active = { state: "active", untilMs: null } as const;
const NEVER = 3_600_000;

let plant: FixturePlant;
beforeAll(async () => {
  plant = await openFixturePlant({ scheme: "bgv", keyMode: "public", leases });
});
afterAll(() => plant[Symbol.asyncDispose]());

const score = (by: FixturePlant, sequence: number) =>
  by.score(0, [{ gateway: "g1", sequence, frameTimeMs: sequence, windows: { m0: features(sequence) } }]);

async function start(files: FixtureFiles, { env = {}, pollMs = NEVER }: { env?: Record<string, string>; pollMs?: number } = {}) {
  const risks: StoredRisk[] = [];
  const console = await startConfiguredConsole(loadConsoleConfig(files.config, env), {
    ...{ logger: silentLogger(), env, pollMs },
    onRisk: (risk) => risks.push(risk),
  });
  const told = (count: number) => vi.waitUntil(() => risks.length >= count, { timeout: 20_000, interval: 5 });
  const actions = () => [...readAudit(files.auditPath)].map(({ action }) => action);
  return { console, risks, told, actions, [Symbol.asyncDispose]: () => console[Symbol.asyncDispose]() };
}

/** The register with g1's credentials changed, under the next serial. */
const withCredentials = (change: (each: PlantRegister["gateways"][number]["credentials"]) => typeof each) => {
  const { gateways } = plant.registration.register;
  return plant.registration.next({ gateways: gateways.map((each) => ({ ...each, credentials: change(each.credentials) })) });
};

it("takes changed keys, signers and gateways at once while it runs, and records what it did in an audit log that verifies", async () => {
  await using egress = await startFixtureEgress();
  const files = await writeFixtureFiles(plant, egress.url);
  await using opened = await start(files);
  await egress.append([score(plant, 1)]);
  await egress.storedUpTo(1);

  // A gateway's new signing key, the model service's new key, and a new HE key: the first score under all of them follows at once.
  const [gatewayKey, signer] = [0, 1].map(() => generateKeyPairSync("ed25519").privateKey);
  const rotated = await addEpoch(files.keystore, paramsFromDocument(plant.deployment.params), "public", [], 0);
  const next = rotated.keys.find(({ keyEpoch }) => keyEpoch === 2)!;
  const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));
  const pair = { gateway: null, keyId: next.keyId, secretKey: bytes(next.secretKey), publicKey: bytes(next.publicKey) };
  await using fresh = await openFixturePlant({ scheme: "bgv", keyMode: "public", leases, successorOf: plant, keyPairs: [pair] });
  const before = scoreCodec.decode(score(fresh, 2));
  const parts = before.parts.map((part) => ({
    ...part,
    signature: signFrame({ ...before, ...part, ciphertext: Buffer.alloc(0) }, gatewayKey!).signature,
  }));
  await files.writeKeystore(rotated);
  files.write(
    "register.json",
    withCredentials((each) => [...each, { signingKey: publicHalf(gatewayKey!), certificateHash: null, ...active }]),
  );
  files.write("service.json", serviceDocument([plant.scoreSigner, signer!].map(publicHalf)));
  await egress.append([scoreCodec.encode(signScore({ ...before, parts }, signer!)), score(plant, 3)]);
  await egress.storedUpTo(3);
  await opened.told(3);
  expect(opened.risks.map(({ sequence, score }) => [sequence, score])).toEqual(
    [1, 2, 3].map((sequence) => [sequence, plant.plainScores(0, features(sequence))[0]]),
  );
  expect(opened.console.counters()).toMatchObject({ refused: {}, duplicates: 0 });
  expect(opened.actions()).toEqual([
    ...["register-taken", "score-signers-pinned", "keystore-opened", "console-started", "key-used"],
    ...["register-taken", "score-signers-pinned", "keystore-opened", "key-used"],
  ]);
  expect(verifyAudit(files.auditPath).entries).toBe(9);
});

it("believes a gateway no more once its register says so, without a restart", async () => {
  await using egress = await startFixtureEgress();
  const files = await writeFixtureFiles(plant, egress.url);
  await using opened = await start(files, { pollMs: 10 });
  await egress.append([score(plant, 1)]);
  await egress.storedUpTo(1);
  files.write(
    "register.json",
    withCredentials((each) => each.map((one) => ({ ...one, state: "revoked" }))),
  );
  await vi.waitUntil(() => opened.actions().filter((action) => action === "register-taken").length === 2, { timeout: 20_000, interval: 5 });
  await egress.append([score(plant, 2)]);
  await egress.storedUpTo(2);
  expect(opened.console.counters()).toMatchObject({ risks: 1, refused: { SIGNATURE_INVALID: 1 } });
});

it("keeps its service document when the next one makes no sense", async () => {
  await using egress = await startFixtureEgress();
  const files = await writeFixtureFiles(plant, egress.url);
  await using opened = await start(files);
  files.write("service.json", { kind: "service" });
  const forged = signScore(scoreCodec.decode(score(plant, 1)), generateKeyPairSync("ed25519").privateKey);
  await egress.append([scoreCodec.encode(forged), score(plant, 2)]);
  await egress.storedUpTo(2);
  expect(opened.console.counters()).toMatchObject({ risks: 1, refused: { SIGNATURE_INVALID: 1 } });
});

it("speaks TLS with its own certificate to a broker of the service's authority, and goes on with a renewed one", async () => {
  const [service, own] = await Promise.all(["service", "essen"].map((name) => createAuthority({ name, days: 2 })));
  const server = await issueServerCertificate(service!, { hosts: ["127.0.0.1"], days: 2 });
  const issue = () => issueClientCertificate(own!, { plant: PLANT, role: "console", name: "c1", days: 2 });
  const [first, second] = [await issue(), await issue()];
  const consoles = [first, second].map(({ certificate }) => ({ console: "c1", certificateHash: certificateHash(certificate), ...active }));
  const { gateways } = plant.registration.register;
  const register = plant.registration.next({ certificateAuthority: own!.certificate, consoles, gateways });
  const registry = new FixedRegistry([register]);
  await using egress = await startFixtureEgress({ tls: { credentials: fixedTls(server), registry } });
  const files = await writeFixtureFiles(plant, egress.url, { tls: { certificate: "certificate.pem", key: "key.pem" } });
  files.write("register.json", register);
  files.write("service.json", { ...serviceDocument([publicHalf(plant.scoreSigner)]), certificateAuthority: service!.certificate });
  const write = ({ certificate, key }: typeof first) => {
    writeFileSync(join(files.folder, "key.pem"), key, { mode: 0o600 });
    writeFileSync(join(files.folder, "certificate.pem"), certificate);
  };
  write(first);
  await using opened = await start(files, { pollMs: 10 });
  await egress.append([score(plant, 1)]);
  await egress.storedUpTo(1);
  write(second);
  // The first one is withdrawn: who still shows it is cut off, and is let in with the second.
  registry.replace(plant.registration.next({ consoles: consoles.map((each, i) => (i === 0 ? { ...each, state: "revoked" } : each)) }));
  await egress.append([score(plant, 2), score(plant, 3)]);
  await egress.storedUpTo(3);
  await opened.told(3);
  expect(opened.risks.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  expect(opened.console.counters()).toMatchObject({ duplicates: 0, refused: {} });
});

it("takes the passphrase from the environment where no file is named", async () => {
  await using egress = await startFixtureEgress();
  const files = await writeFixtureFiles(plant, egress.url, { passphraseFile: undefined });
  await expect(start(files)).rejects.toMatchObject({ code: "PASSPHRASE_MISSING" });
  await expect(start(files, { env: { SMILE_PASSPHRASE: "another" } })).rejects.toMatchObject({ code: "PASSPHRASE_WRONG" });
  await using opened = await start(files, { env: { SMILE_PASSPHRASE: PASSPHRASE } });
  expect(opened.actions()).toContain("keystore-opened");
});

it("does not start with what is another plant's, is not signed by the identity that is pinned, or would go in the clear", async () => {
  const code = async (more: object, change: (files: FixtureFiles) => unknown = () => {}) => {
    const files = await writeFixtureFiles(plant, "mqtt://127.0.0.1:1", more);
    await change(files);
    return start(files).then(
      () => "started",
      (error: { code: string; message: string }) => `${error.code} ${/keystore|register|tls|service/.exec(error.message)?.[0]}`,
    );
  };
  expect(await code({ plant: "ulm" })).toBe("CONFIG_INVALID register");
  expect(
    await code({}, async (files) => {
      rmSync(files.keystorePath);
      await files.writeKeystore({ ...files.keystore, plant: "ulm" });
    }),
  ).toBe("CONFIG_INVALID keystore");
  expect(await code({ identity: "0".repeat(64) })).toBe("SIGNATURE_INVALID register");
  expect(await code({ service: "register.json" })).toMatch(/^DOCUMENT_INVALID/);
  expect(await code({ mqtt: { url: "mqtt://192.0.2.1" } })).toBe("TLS_REQUIRED tls");
  expect(await code({ tls: { certificate: "c.pem", key: "k.pem" } })).toBe("CONFIG_INVALID tls");
  const clear = await writeFixtureFiles(plant, "mqtt://192.0.2.1", { withoutTls: WITHOUT_TLS });
  await using opened = await start(clear);
  expect(opened.console.connected()).toBe(false);
});

it("writes no secret into its audit log", async () => {
  await using egress = await startFixtureEgress();
  const files = await writeFixtureFiles(plant, egress.url);
  {
    await using _opened = await start(files);
    await egress.append([score(plant, 1)]);
    await egress.storedUpTo(1);
  }
  const everything = readFileSync(files.auditPath, "latin1") + JSON.stringify([...readAudit(files.auditPath)]);
  const secrets = [files.keystore.keys[0]!.secretKey, PASSPHRASE, plant.plainScores(0, features(1)).join()];
  for (const secret of secrets) expect(everything).not.toContain(secret);
});
