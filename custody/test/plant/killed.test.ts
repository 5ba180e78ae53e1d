import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificateHash } from "@smile/identity/check-certificate";
import { readAudit } from "@smile/runtime/audit-log";
import { identityHash, openRegister } from "@smile/schemas/plant-register";
import type { SigningKey } from "@smile/schemas/signing-key";
import { describe, expect, it, vi } from "vitest";
import { smallDeployment } from "../../../test/support/small-deployment.ts";
import { readKeystore } from "../../src/keystore.ts";
import { activateCredential, renewConsole } from "../../src/plant/client-credentials.ts";
import { exportPublic } from "../../src/plant/export-public.ts";
import { addGateway, renewGateway, revokeGateway } from "../../src/plant/gateways.ts";
import { activateKeys, destroyExpiredKeys, rotateKeys } from "../../src/plant/key-rotation.ts";
import type { PlantAccess } from "../../src/plant/open-plant.ts";
import type { PlantDocument } from "../../src/plant/plant-document.ts";
import { plantStatus } from "../../src/plant/plant-status.ts";
import { useService } from "../../src/plant/service-file.ts";
import { useDeployment } from "../../src/plant/use-deployment.ts";
import { DAY_MS, type NewPlant, newPlant, serviceDocument } from "./new-plant.ts";

/** A command's steps: every file comes to its place by a rename, and the audit log is added to. Once they are used up, none is done. */
const steps = vi.hoisted(() => {
  let left = Number.POSITIVE_INFINITY;
  return {
    allow(count: number) {
      left = count;
    },
    take() {
      left -= 1;
      if (left < 0) throw new Error("killed");
    },
    get areUsedUp() {
      return left < 0;
    },
  };
});
vi.mock("node:fs", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs")>();
  const renameSync: typeof real.renameSync = (from, to) => {
    steps.take();
    real.renameSync(from, to);
  };
  return { ...real, renameSync };
});
vi.mock("@smile/runtime/audit-log", async (importOriginal) => {
  const real = await importOriginal<typeof import("@smile/runtime/audit-log")>();
  const openAuditLog: typeof real.openAuditLog = (options) => {
    const log = real.openAuditLog(options);
    const append: typeof log.append = (...entry) => {
      steps.take();
      log.append(...entry);
    };
    return { append, head: () => log.head(), [Symbol.dispose]: () => log[Symbol.dispose]() };
  };
  return { ...real, openAuditLog };
});

const days = 730;
type Command = (access: PlantAccess, plant: NewPlant) => Promise<unknown>;

const renew: Command = (access) => renewGateway(access, { gateway: "hall-1", days });
const revoke: Command = (access) => revokeGateway(access, { gateway: "hall-1", retainMs: DAY_MS });
const add: Command = (access) => addGateway(access, { gateway: "hall-2", machines: ["b"], days });
const activate: Command = (access) => activateKeys(access, { retainMs: DAY_MS / 2 });
const deploy: Command = (access, { outside }) => useDeployment(access, { file: join(outside, "other.json"), retainMs: DAY_MS });
const aboutKeys: [name: string, command: Command, before: Command[]][] = [
  ["add-gateway", add, []],
  ["revoke-gateway", revoke, []],
  ["rotate-keys", rotateKeys, []],
  ["activate-keys", activate, [rotateKeys]],
  ["destroy-keys", destroyExpiredKeys, [rotateKeys, activate]],
  ["use-deployment", deploy, []],
];
const others: typeof aboutKeys = [
  ["renew-gateway", renew, []],
  ["renew-gateway, a second time", renew, [renew]],
  ["activate-gateway", (access) => activateCredential(access, { client: { role: "gateway", name: "hall-1" }, retainMs: DAY_MS }), [renew]],
  ["renew-console", (access) => renewConsole(access, { console: "console", days }), []],
  ["export-public", exportPublic, []],
  ["use-service", (access, { outside }) => useService(access, join(outside, "newer.json")), []],
];

describe("killed behind any of its steps", () => {
  it.each([
    ...aboutKeys.map((each) => ["public", ...each] as const),
    ...aboutKeys.map((each) => ["symmetric", ...each] as const),
    ...others.map((each) => ["public", ...each] as const),
  ])("in %s mode %s loses no key, and ends when it is given again", { timeout: 60_000 }, async (keyMode, _, command, before) => {
    using plant = await newPlant({ keyMode });
    using small = await smallDeployment({ scheme: "bgv", keyMode: keyMode === "public" ? "symmetric" : "public" });
    writeFileSync(join(plant.outside, "other.json"), JSON.stringify(small.deployed.deployment));
    writeFileSync(join(plant.outside, "newer.json"), JSON.stringify(serviceDocument({ name: "newer" })));
    await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
    for (const earlier of before) await earlier(plant.at(1), plant);
    for (let allowed = 0; ; allowed += 1) {
      const access = { ...plant.at(2), folder: join(plant.outside, `after-${allowed}`) };
      cpSync(plant.folder, access.folder, { recursive: true });
      steps.allow(allowed);
      await command(access, plant).catch((error: unknown) => {
        if (!steps.areUsedUp) throw error;
      });
      const isWhole = !steps.areUsedUp;
      steps.allow(Number.POSITIVE_INFINITY);
      await expectNoKeyLost(access);
      if (!isWhole) await command(access, plant);
      await expectNoKeyLost(access);
      await expectSettled(access);
      if (!isWhole) continue;
      expect(allowed).toBeGreaterThan(3);
      return;
    }
  });
});

const json = <T>(...path: string[]) => JSON.parse(readFileSync(join(...path), "utf8")) as T;
const idsOf = (keys: readonly { readonly keyId: string }[]) => keys.map(({ keyId }) => keyId);

/** Whatever a gateway may find in its folder, the plant opens what is encrypted with it. */
async function expectNoKeyLost({ folder, passphrase }: PlantAccess) {
  const { keys } = await readKeystore(join(folder, "keystore.json"), passphrase);
  const files = ["hall-1", "hall-2"].flatMap((gateway) =>
    ["public-key.json", "gateway-key.json"].map((file) => join(folder, "gateways", gateway, file)),
  );
  const handedOut = files.filter((path) => existsSync(path)).map((path) => json<{ keyId: string }>(path));
  expect(idsOf(keys)).toEqual(expect.arrayContaining(idsOf(handedOut)));
}

/** Files, plant.json, keystore, register and audit log say the same. */
async function expectSettled({ folder, passphrase, nowMs }: PlantAccess) {
  const keystore = await readKeystore(join(folder, "keystore.json"), passphrase);
  const document = json<PlantDocument>(folder, "plant.json");
  const register = openRegister(json(folder, "register.json"), identityHash(document.identity), "register.json");
  const states = (keys: PlantDocument["keys"] | typeof keystore.keys) => keys.map(({ keyId, state }) => `${keyId} ${state}`);
  expect(states(document.keys)).toEqual(states(keystore.keys));
  expect(idsOf(register.keys).sort()).toEqual(idsOf(keystore.keys).sort());
  expect(register.serial).toBe(document.serial);

  const recorded = [...readAudit(join(folder, "audit.db"))].map(({ action, facts }) => `${action} ${facts.keyId}`);
  expect(recorded).toEqual(
    expect.arrayContaining([
      ...idsOf([...keystore.keys, ...keystore.destroyed]).map((keyId) => `key-made ${keyId}`),
      ...idsOf(keystore.keys.filter(({ state }) => state === "retiring")).map((keyId) => `key-retired ${keyId}`),
      ...idsOf(keystore.destroyed).map((keyId) => `key-destroyed ${keyId}`),
    ]),
  );

  const next = keystore.keys.some(({ state }) => state === "next");
  const todo = plantStatus(folder, nowMs).todo.join("\n");
  expect([todo.includes("activate-keys"), /export-public|destroy-keys/.test(todo)]).toEqual([next, false]);
  for (const { gateway, credentials } of document.gateways) {
    if (credentials.every(({ state }) => state === "revoked")) continue;
    expect(json(folder, "gateways", gateway, "register.json")).toEqual(register);
    for (const { state, signingKey, certificateHash: hash } of credentials) {
      if (state !== "active" && state !== "next") continue;
      const at = join(folder, "gateways", gateway, state === "next" ? "next" : "");
      expect(json<SigningKey>(at, "signing-key.json").publicKey).toBe(signingKey);
      expect(certificateHash(readFileSync(join(at, "certificate.pem"), "utf8"))).toBe(hash);
    }
  }
}
