import { hash } from "node:crypto";
import { join } from "node:path";
import { writeJsonFile } from "@smile/runtime/json-file";
import { silentLogger } from "@smile/runtime/logging";
import { identityHash, type PlantRegister, type Registration } from "@smile/schemas/plant-register";
import { newSigningKey } from "@smile/schemas/signing-key";
import { expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { type KeyFiles, readKeys, watchedKeys } from "../src/key-files.ts";
import { checkLanes, readRegister } from "../src/plant-pin.ts";
import { WatchedFiles } from "../src/watched-files.ts";
import { newFolder } from "./fixture.ts";

const paramsId = "cd".repeat(32);
const bytes = (name: string) => Buffer.from(`public key ${name}`);
const keyId = (name: string) => hash("sha256", bytes(name));
const active = { state: "active" as const, untilMs: null };
const soon = { state: "retiring" as const, untilMs: Date.now() + 3_600_000 };
const over = { state: "retiring" as const, untilMs: Date.now() - 1 };
const revoked = { state: "revoked" as const, untilMs: null };

const signing = newSigningKey("gateway-1");
const plant = fixturePlant({
  plant: "plant",
  gateways: [{ gateway: "gateway-1", lanes: { first: 0, count: 8 } }],
  keys: [{ paramsId, keyId: keyId("one"), publicKey: bytes("one") }],
});
const [one] = plant.register.keys;
const [gateway] = plant.register.gateways;
const own = { signingKey: signing.publicKey, certificateHash: null, ...active };

/** A register in which everything is in order, but for the changes. */
function registered(changes: Partial<Registration> = {}): PlantRegister {
  return plant.next({ plant: "plant", keys: [one!], gateways: [{ ...gateway!, credentials: [own] }], ...changes });
}

function folderWith(register: PlantRegister): KeyFiles {
  const folder = newFolder();
  const at = (name: string) => join(folder, name);
  writeJsonFile(at("register.json"), register);
  writeJsonFile(at("signing-key.json"), signing, 0o600);
  putKey(at("key.json"), "one");
  return {
    use: { plant: "plant", gateway: "gateway-1", keyMode: "public", paramsId },
    key: at("key.json"),
    signingKey: at("signing-key.json"),
    pin: { path: at("register.json"), identity: identityHash(plant.register.identity) },
  };
}

function putKey(path: string, name: string): void {
  const publicKey = bytes(name).toString("base64");
  writeJsonFile(path, { kind: "public-key", version: 1, plant: "plant", gateway: null, paramsId, keyId: keyId(name), publicKey });
}

it.each([
  ["everything in force", {}],
  ["a key that retires later", { keys: [{ ...one!, ...soon }] }],
  ["a signing key that retires later", { gateways: [{ ...gateway!, credentials: [{ ...own, ...soon }] }] }],
])("takes the keys under a register with %s", (_, changes) => {
  expect(readKeys(folderWith(registered(changes))).key.keyId).toBe(keyId("one"));
});

it.each([
  ["without the key", "KEY_MISMATCH", { keys: [] }],
  ["with the key of another gateway", "KEY_MISMATCH", { keys: [{ ...one!, gateway: "gateway-2" }] }],
  ["with the key for other parameters", "KEY_MISMATCH", { keys: [{ ...one!, paramsId: "ef".repeat(32) }] }],
  ["with the key revoked", "KEY_MISMATCH", { keys: [{ ...one!, ...revoked }] }],
  ["with the key's time over", "KEY_MISMATCH", { keys: [{ ...one!, ...over }] }],
  ["with the signing key revoked", "KEY_MISMATCH", { gateways: [{ ...gateway!, credentials: [{ ...own, ...revoked }] }] }],
  ["without the gateway", "KEY_MISMATCH", { gateways: [] }],
  ["of another plant", "CONFIG_INVALID", { plant: "elsewhere" }],
] as const)("refuses the keys under a register %s", (_, code, changes) => {
  expect(() => readKeys(folderWith(registered(changes as Partial<Registration>)))).toThrow(`[${code}]`);
});

it("refuses a register that the pinned identity did not sign as it is", () => {
  const stranger = fixturePlant({ plant: "plant", gateways: [] });
  for (const register of [{ ...registered(), serial: 99 }, stranger.register]) {
    expect(() => readKeys(folderWith(register))).toThrow("[SIGNATURE_INVALID]");
  }
});

it("refuses a lease beyond the gateway's lanes", () => {
  const { pin } = folderWith(registered());
  const register = readRegister(pin!, "plant");
  const lease = (firstLane: number, count: number) => ({
    gateway: "gateway-1",
    firstLane,
    machines: Array.from({ length: count }, (_, i) => `m${i}`),
  });
  checkLanes(register, lease(0, 8));
  checkLanes(register, lease(5, 3));
  for (const [first, count] of [
    [0, 9],
    [8, 1],
  ] as const) {
    expect(() => checkLanes(register, lease(first, count))).toThrow("[CONFIG_INVALID]");
  }
});

it("hands a running agent a new key once the register has it, and says so when it has not", async () => {
  const files = folderWith(registered());
  const used: string[] = [];
  const agent = { useKey: async (key: { keyId: string }) => void used.push(key.keyId), useSigningKey: () => void used.push("signer") };
  const watched = new WatchedFiles(
    watchedKeys(files, () => agent),
    silentLogger(),
  );
  const settle = async () => {
    await watched.look();
    await watched.look();
  };
  putKey(files.key, "two");
  await settle();
  expect(used).toEqual([]);
  expect(watched.reloads.encryption_key).toEqual({ taken: 0, refused: 1 });
  const two = { ...one!, keyEpoch: 2, keyId: keyId("two"), publicKey: bytes("two").toString("base64") };
  writeJsonFile(files.pin!.path, registered({ keys: [one!, two] }));
  await settle();
  expect(used).toEqual([keyId("two"), "signer"]);
  writeJsonFile(files.signingKey, { ...newSigningKey("gateway-1") }, 0o600);
  await settle();
  expect(watched.reloads.signing_key).toEqual({ taken: 1, refused: 1 });
});
