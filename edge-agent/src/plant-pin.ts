import { createPublicKey, type KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { readJsonFile } from "@smile/runtime/json-file";
import type { Lease } from "@smile/schemas/documents";
import { openRegister } from "@smile/schemas/plant-register";
import { RegisteredPlant } from "@smile/schemas/registered-plant";

/** The plant's register as a file, and the hash of the identity that must have signed it. */
export type PlantPin = { readonly path: string; readonly identity: string };

/** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, SIGNATURE_INVALID; CONFIG_INVALID for another plant's */
export function readRegister({ path, identity }: PlantPin, plant: string): RegisteredPlant {
  const registered = new RegisteredPlant(openRegister(readJsonFile(path, "register"), identity, path));
  if (registered.plant !== plant) {
    throw new PipelineError("CONFIG_INVALID", `${path}: plant is ${registered.plant}, not ${plant}`, { path, field: "plant" });
  }
  return registered;
}

/**
 * What a service would refuse, noticed before it costs frames: the gateway's signing key has to be one that the register has in force.
 * @throws {PipelineError} KEY_MISMATCH
 */
export function checkSigner(register: RegisteredPlant, gateway: string, key: KeyObject, nowMs: number): void {
  const own = createPublicKey(key);
  if (register.signersAt(gateway, nowMs).some((each) => each.equals(own))) return;
  throw new PipelineError("KEY_MISMATCH", `signingKey: the plant's register has no such key in force for gateway ${gateway}`, { gateway });
}

/** @throws {PipelineError} CONFIG_INVALID when the lease goes beyond the lanes that the register gives the gateway */
export function checkLanes(register: RegisteredPlant, { gateway, firstLane, machines }: Lease): void {
  const lanes = register.lanesOf(gateway);
  if (lanes !== undefined && firstLane >= lanes.first && firstLane + machines.length <= lanes.first + lanes.count) return;
  const what = `lease: lanes ${firstLane} to ${firstLane + machines.length - 1} are not gateway ${gateway}'s in the plant's register`;
  throw new PipelineError("CONFIG_INVALID", what, { field: "lease", gateway });
}
