import { PipelineError } from "@smile/errors/pipeline-error";
import { readJsonFile } from "@smile/runtime/json-file";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { identityHash, openRegister } from "@smile/schemas/plant-register";
import { activateEpoch, addEpoch, destroyExpired } from "../keystore.ts";
import { writeKeyFile } from "./gateways.ts";
import { isSameKey } from "./key-notes.ts";
import { commit, openPlant, type PlantAccess } from "./open-plant.ts";
import { isInService } from "./plant-document.ts";

/**
 * Makes a further epoch of HE keys and registers it. Nobody encrypts with it before `activateKeys`.
 * @throws {PipelineError} CONFIG_INVALID when one waits already, or symmetric mode has no gateways yet
 */
export async function rotateKeys(access: PlantAccess) {
  using plant = await openPlant(access);
  const { document, deployment, keystore: stored } = plant;
  const gateways = document.gateways.filter(isInService).map(({ gateway }) => gateway);
  // What a rotation made that was killed behind the keystore is registered now.
  const isMade = stored.keys.some((key) => key.state === "next" && !document.keys.some((listed) => isSameKey(listed, key)));
  const params = paramsFromDocument(deployment.params);
  const keystore = isMade ? stored : await addEpoch(stored, params, deployment.keyMode, gateways, access.nowMs);
  const made = keystore.keys.filter(({ state }) => state === "next");
  const { register } = await commit(plant, { document, keystore, notes: [] });
  return { keyEpoch: made[0]!.keyEpoch, keyIds: made.map(({ keyId }) => keyId), serial: register.serial };
}

/**
 * Hands the new keys to the gateways' folders. What they replace opens scores until the retention ends, and the service takes windows
 * under it for the first half of that time. The service must have taken the register that `rotateKeys` wrote.
 * @throws {PipelineError} CONFIG_INVALID when no epoch waits, or the register was not written with it
 */
export async function activateKeys(access: PlantAccess, { retainMs }: { readonly retainMs: number }) {
  using plant = await openPlant(access);
  const { document, deployment, paths, keystore: stored } = plant;
  // An activation that was killed behind the keystore is ended: there they are active, and plant.json does not know.
  const listedNext = document.keys.filter(({ state }) => state === "next");
  const halfDone = stored.keys.filter((key) => key.state === "active" && listedNext.some((listed) => isSameKey(listed, key)));
  const keystore = halfDone.length > 0 ? stored : activateEpoch(stored, { retainMs, nowMs: access.nowMs });
  const next = halfDone.length > 0 ? halfDone : stored.keys.filter(({ state }) => state === "next");
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
  const handOut = () => {
    // A gateway that was added since has a key of its own, which is active.
    const receiving = gateways.filter((gateway) => deployment.keyMode === "public" || next.some((key) => key.gateway === gateway));
    for (const gateway of receiving) writeKeyFile(paths.gateway(gateway), keystore, gateway, deployment.keyMode, epochs);
  };
  const { register } = await commit(plant, { document, keystore, notes: [], handOut });
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
  const change = { document: plant.document, notes: [], ...(destroyed.length > 0 && { keystore }) };
  const { register } = await commit(plant, change);
  return { destroyed: gone.map(({ keyEpoch, keyId, gateway }) => ({ keyEpoch, keyId, gateway })), serial: register.serial };
}
