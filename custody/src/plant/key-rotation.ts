import { PipelineError } from "@smile/errors/pipeline-error";
import { readJsonFile } from "@smile/runtime/json-file";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { identityHash, openRegister } from "@smile/schemas/plant-register";
import { activateEpoch, addEpoch, destroyExpired, type KeystoreKey } from "../keystore.ts";
import { writeKeyFile } from "./gateways.ts";
import { keysMade } from "./init-plant.ts";
import { type AuditNote, commit, openPlant, type PlantAccess } from "./open-plant.ts";
import { isInService } from "./plant-document.ts";

/**
 * Makes a further epoch of HE keys and registers it. Nobody encrypts with it before `activateKeys`.
 * @throws {PipelineError} CONFIG_INVALID when one waits already, or symmetric mode has no gateways yet
 */
export async function rotateKeys(access: PlantAccess) {
  using plant = await openPlant(access);
  const { document, deployment } = plant;
  const gateways = document.gateways.filter(isInService).map(({ gateway }) => gateway);
  const keystore = await addEpoch(plant.keystore, paramsFromDocument(deployment.params), deployment.keyMode, gateways, access.nowMs);
  const made = keystore.keys.filter(({ state }) => state === "next");
  const { register } = await commit(plant, { document, keystore, notes: keysMade(made) });
  return { keyEpoch: made[0]!.keyEpoch, keyIds: made.map(({ keyId }) => keyId), serial: register.serial };
}

/**
 * Hands the new keys to the gateways' folders. What they replace opens scores until the retention ends, and the service takes windows
 * under it for the first half of that time. The service must have taken the register that `rotateKeys` wrote.
 * @throws {PipelineError} CONFIG_INVALID when no epoch waits, or the register was not written with it
 */
export async function activateKeys(access: PlantAccess, { retainMs }: { readonly retainMs: number }) {
  using plant = await openPlant(access);
  const { document, deployment, paths } = plant;
  const next = plant.keystore.keys.filter(({ state }) => state === "next");
  const keystore = activateEpoch(plant.keystore, { retainMs, nowMs: access.nowMs });
  const registered = new Set(
    openRegister(readJsonFile(paths.register, "register"), identityHash(document.identity), paths.register).keys.map(({ keyId }) => keyId),
  );
  if (next.some(({ keyId }) => !registered.has(keyId))) {
    const what =
      "the new key is not in register.json yet: run `smile plant export-public`, give the register to the service, then activate";
    throw new PipelineError("CONFIG_INVALID", what, { plant: document.plant });
  }
  const epochs = next.map(({ keyEpoch }) => keyEpoch);
  const gateways = document.gateways.filter(isInService).map(({ gateway }) => gateway);
  for (const gateway of gateways) {
    // A gateway that was added since has a key of its own, which is active.
    if (deployment.keyMode === "public" || next.some((key) => key.gateway === gateway)) {
      writeKeyFile(paths.gateway(gateway), plant.keystore, gateway, deployment.keyMode, epochs);
    }
  }
  const wasActive = new Set(plant.keystore.keys.filter(({ state }) => state === "active").map(({ keyId }) => keyId));
  const notes: AuditNote[] = [
    ...next.map((key) => ["key-activated", factsOf(key)] as const),
    ...keystore.keys
      .filter(({ state, keyId }) => state === "retiring" && wasActive.has(keyId))
      .map((key) => ["key-retired", { ...factsOf(key), untilMs: key.untilMs! }] as const),
  ];
  const { register } = await commit(plant, { document, keystore, notes });
  return { keyEpoch: Math.max(...epochs), gateways, serial: register.serial };
}

/**
 * Destroys keys whose retention has ended: in the keystore, then in the register. Each is recorded. Those that the console has destroyed
 * and recorded before leave plant.json and the register here.
 * @returns `destroyed`: all that have left the register now
 */
export async function destroyExpiredKeys(access: PlantAccess) {
  using plant = await openPlant(access);
  const { keystore, destroyed } = destroyExpired(plant.keystore, access.nowMs);
  const gone = plant.document.keys.filter((listed) => !keystore.keys.some((key) => isSameKey(key, listed)));
  if (gone.length === 0) return { destroyed: [], serial: plant.document.serial };
  const notes = destroyed.map((key) => ["key-destroyed", factsOf(key)] as const);
  const change = { document: plant.document, notes, ...(destroyed.length > 0 && { keystore }) };
  const { register } = await commit(plant, change);
  return { destroyed: gone.map(({ keyEpoch, keyId, gateway }) => ({ keyEpoch, keyId, gateway })), serial: register.serial };
}

type KeyName = Pick<KeystoreKey, "keyEpoch" | "gateway" | "paramsId">;

function isSameKey(a: KeyName, b: KeyName): boolean {
  return a.keyEpoch === b.keyEpoch && a.gateway === b.gateway && a.paramsId === b.paramsId;
}

function factsOf({ keyEpoch, keyId, gateway }: Pick<KeystoreKey, "keyEpoch" | "keyId" | "gateway">) {
  return { what: "HE key", keyEpoch, keyId, ...(gateway === null ? {} : { gateway }) };
}
