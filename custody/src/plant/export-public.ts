import { identityHash } from "@smile/schemas/plant-register";
import { commit, openPlant, type PlantAccess } from "./open-plant.ts";

/** Signs the register anew, under the next serial: register.json of the plant's folder. */
export async function exportPublic(access: PlantAccess) {
  using plant = await openPlant(access);
  const { register } = await commit(plant, { document: plant.document, notes: [] });
  return { register, path: plant.paths.register, identityHash: identityHash(plant.document.identity) };
}
