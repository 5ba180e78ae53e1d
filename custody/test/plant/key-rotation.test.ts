import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readAudit } from "@smile/runtime/audit-log";
import { expect, it } from "vitest";
import { destroyExpired, readKeystore, writeKeystore } from "../../src/keystore.ts";
import { exportPublic } from "../../src/plant/export-public.ts";
import { addGateway, revokeGateway } from "../../src/plant/gateways.ts";
import { activateKeys, destroyExpiredKeys, rotateKeys } from "../../src/plant/key-rotation.ts";
import { plantStatus } from "../../src/plant/plant-status.ts";
import { DAY_MS, type NewPlant, newPlant, START_MS } from "./new-plant.ts";

const days = 730;
type KeyFile = { keyId: string; paramsId: string };
const inFolder = (plant: NewPlant, gateway: string, file = "public-key.json") => plant.json<KeyFile>("gateways", gateway, file);
const taken = (plant: NewPlant, { paramsId, keyId }: KeyFile, day: number) =>
  plant.registered().keyAt(paramsId, keyId, START_MS + day * DAY_MS) !== undefined;

it("registers a new key before anybody encrypts with it, and lets the old one go in three steps", async () => {
  using plant = await newPlant();
  await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
  const old = inFolder(plant, "hall-1");
  const rotated = await rotateKeys(plant.at(10));
  const fresh = { paramsId: old.paramsId, keyId: rotated.keyIds[0]! };
  expect(inFolder(plant, "hall-1")).toEqual(old);
  expect([taken(plant, old, 10), taken(plant, fresh, 10)]).toEqual([true, true]);

  await activateKeys(plant.at(11), { retainMs: 20 * DAY_MS });
  expect(inFolder(plant, "hall-1")).toMatchObject(fresh);
  // Half of the retention: windows under the old key are still taken.
  expect([taken(plant, old, 20.9), taken(plant, old, 21.1), taken(plant, fresh, 40)]).toEqual([true, false, true]);
  // What was taken is scored and opened until its end.
  expect(plant.registered().keyEver(old.paramsId, old.keyId)).toBeDefined();
  expect(await destroyExpiredKeys(plant.at(30.9))).toMatchObject({ destroyed: [] });
  const held = async () => (await readKeystore(join(plant.folder, "keystore.json"), plant.at(0).passphrase)).keys.map(({ keyId }) => keyId);
  expect(await held()).toEqual([old.keyId, fresh.keyId]);

  expect(plantStatus(plant.folder, START_MS + 31 * DAY_MS).todo).toEqual([expect.stringContaining("destroy-keys")]);
  expect(await destroyExpiredKeys(plant.at(31))).toMatchObject({ destroyed: [{ keyEpoch: 1, keyId: old.keyId }] });
  expect(await held()).toEqual([fresh.keyId]);
  expect(plant.registered().keyEver(old.paramsId, old.keyId)).toBeUndefined();
  expect(plantStatus(plant.folder, START_MS + 31 * DAY_MS).todo).toEqual([]);
});

it("takes a key that the console has destroyed out of plant.json and the register, without recording it twice", async () => {
  using plant = await newPlant();
  await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
  const old = inFolder(plant, "hall-1");
  await rotateKeys(plant.at(1));
  await activateKeys(plant.at(2), { retainMs: DAY_MS });
  const path = join(plant.folder, "keystore.json");
  const { passphrase, cost } = plant.at(3);
  const { keystore } = destroyExpired(await readKeystore(path, passphrase), START_MS + 3 * DAY_MS);
  await writeKeystore(path, keystore, passphrase, { replace: true, ...(cost && { cost }) });

  expect(plantStatus(plant.folder, START_MS + 3 * DAY_MS).todo).toEqual([expect.stringContaining("destroy-keys")]);
  expect(await destroyExpiredKeys(plant.at(3))).toMatchObject({ destroyed: [{ keyEpoch: 1, keyId: old.keyId }] });
  expect(plantStatus(plant.folder, START_MS + 3 * DAY_MS).todo).toEqual([]);
  expect(plant.registered().keyEver(old.paramsId, old.keyId)).toBeUndefined();
  expect([...readAudit(join(plant.folder, "audit.db"))].filter(({ action }) => action === "key-destroyed")).toEqual([]);
  expect(await destroyExpiredKeys(plant.at(3))).toMatchObject({ destroyed: [] });
});

it("does not move the end of a retirement when something else changes later", async () => {
  using plant = await newPlant();
  await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
  const old = inFolder(plant, "hall-1");
  await rotateKeys(plant.at(1));
  await activateKeys(plant.at(2), { retainMs: 10 * DAY_MS });
  await exportPublic(plant.at(6));
  expect([taken(plant, old, 6.9), taken(plant, old, 7.1)]).toEqual([true, false]);
});

it("in symmetric mode renews every gateway's own key, but not one that was revoked", async () => {
  using plant = await newPlant({ keyMode: "symmetric" });
  await expect(rotateKeys(plant.at(0))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  for (const gateway of ["hall-1", "hall-2", "hall-3"]) await addGateway(plant.at(0), { gateway, machines: [gateway], days });
  await revokeGateway(plant.at(1), { gateway: "hall-3", retainMs: DAY_MS });
  const files = () => ["hall-1", "hall-2", "hall-3"].map((gateway) => inFolder(plant, gateway, "gateway-key.json").keyId);
  const before = files();
  const { keyIds } = await rotateKeys(plant.at(2));
  // A gateway that joins now has a key of its own already.
  await addGateway(plant.at(3), { gateway: "hall-4", machines: ["d"], days });
  const joined = inFolder(plant, "hall-4", "gateway-key.json").keyId;
  await activateKeys(plant.at(4), { retainMs: DAY_MS });
  expect(files()).toEqual([...keyIds, before[2]]);
  expect(inFolder(plant, "hall-4", "gateway-key.json").keyId).toBe(joined);
  const { destroyed } = await destroyExpiredKeys(plant.at(5));
  expect(destroyed.map(({ keyId }) => keyId).sort()).toEqual([...before].sort());
});

it("refuses a second rotation while one waits, and an activation when none does or the register lacks the key", async () => {
  using plant = await newPlant();
  const refused = (says: string) => ({ code: "CONFIG_INVALID", message: expect.stringContaining(says) });
  await expect(activateKeys(plant.at(1), { retainMs: 0 })).rejects.toMatchObject(refused("no key epoch waits"));
  const files = ["plant.json", "register.json"].map((file) => [file, readFileSync(join(plant.folder, file), "utf8")] as const);
  await rotateKeys(plant.at(1));
  await expect(rotateKeys(plant.at(1))).rejects.toMatchObject(refused("waits to be activated"));
  // As if it had crashed behind the keystore: the key is there, and nobody has told the service.
  for (const [file, text] of files) writeFileSync(join(plant.folder, file), text);
  await expect(activateKeys(plant.at(2), { retainMs: 0 })).rejects.toMatchObject(refused("export-public"));
  await exportPublic(plant.at(2));
  expect(await activateKeys(plant.at(2), { retainMs: 0 })).toMatchObject({ keyEpoch: 2 });
});

it("records what was made, activated, retired and destroyed, in order", async () => {
  using plant = await newPlant();
  await rotateKeys(plant.at(1));
  await activateKeys(plant.at(2), { retainMs: DAY_MS });
  await destroyExpiredKeys(plant.at(3));
  const entries = [...readAudit(join(plant.folder, "audit.db"))];
  const keys = entries.filter(({ facts }) => facts.what === "HE key").map(({ action, facts, atMs }) => [action, facts.keyEpoch, atMs]);
  const at = (day: number) => START_MS + day * DAY_MS;
  expect(keys).toEqual([
    ["key-made", 1, at(0)],
    ["key-made", 2, at(1)],
    ["key-activated", 2, at(2)],
    ["key-retired", 1, at(2)],
    ["key-destroyed", 1, at(3)],
  ]);
  expect(entries.filter(({ action }) => action === "register-exported").map(({ facts }) => facts.serial)).toEqual([1, 2, 3, 4]);
});
