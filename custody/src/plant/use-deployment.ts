import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { paramsId } from "@smile/he/params";
import { readAnyDeployment } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { AnyDeployment } from "@smile/schemas/record-documents";
import { activateEpoch, addEpoch, type Keystore, retireKeys } from "../keystore.ts";
import { CONSOLE_CONFIGURATIONS, changeConfiguration, GATEWAY_CONFIGURATIONS, keyFile, PROFILES } from "./config-files.ts";
import { profilesBeside, writeProfiles } from "./console-profiles.ts";
import { nextLane, wholeCiphertext, writeKeyFile } from "./gateways.ts";
import { isSameKey } from "./key-notes.ts";
import { commit, openPlant, type PlantAccess } from "./open-plant.ts";
import { type GatewayEntry, isInService, type PlantDocument } from "./plant-document.ts";

/**
 * Takes another deployment to the plant's folder and to every gateway's. Where it has other parameters it comes with new keys, and the
 * old ones retire. Agents must have been drained before: what they hold was made for the deployment of before.
 * @param file path of the deployment document
 * @param retainMs how long keys that it does not use any more are kept
 * @throws {PipelineError} as `readAnyDeployment`; CONFIG_INVALID while a rotation waits to be activated, and for a deployment of records
 *   at a plant of machines, or the other way
 */
export async function useDeployment(access: PlantAccess, { file, retainMs }: { readonly file: string; readonly retainMs: number }) {
  const deployment = readAnyDeployment(file, access.env);
  const profiles = profilesBeside(file, deployment);
  using plant = await openPlant(access);
  const { paths } = plant;
  if (deployment.kind !== plant.deployment.kind) {
    const what = `${file}: kind is ${deployment.kind}, and this plant's gateways are for a ${plant.deployment.kind}`;
    throw new PipelineError("CONFIG_INVALID", what, { field: "kind" });
  }
  const document = withRecordLanes(plant.document, deployment.lanes);
  if (plant.keystore.keys.some(({ state }) => state === "next")) {
    throw new PipelineError("CONFIG_INVALID", "a key epoch waits: run `smile plant activate-keys` first", { plant: document.plant });
  }
  const gateways = document.gateways.filter(isInService).map(({ gateway }) => gateway);
  const keystore = await keystoreFor(plant.keystore, deployment, gateways, { retainMs, nowMs: access.nowMs });
  const handOut = () => {
    for (const gateway of gateways) {
      const folder = paths.gateway(gateway);
      writeKeyFile(folder, keystore, gateway, deployment.keyMode);
      for (const name of Object.values(GATEWAY_CONFIGURATIONS)) {
        changeConfiguration(join(folder, name), (configured) => ({ ...configured, key: keyFile(deployment.keyMode) }));
      }
      writeJsonFile(join(folder, "deployment.json"), deployment);
    }
    if (deployment.kind === "segment-deployment") {
      writeProfiles(paths.console, profiles);
      const console = join(paths.console, CONSOLE_CONFIGURATIONS.records);
      changeConfiguration(console, ({ profiles: _, ...kept }) => ({ ...kept, ...(profiles && { profiles: PROFILES }) }));
    }
    writeJsonFile(paths.deployment, deployment);
  };
  const loaded = { paramsId: paramsId(paramsFromDocument(deployment.params)), keyMode: deployment.keyMode };
  const { register } = await commit(plant, { document, keystore, notes: [["deployment-loaded", loaded]], handOut });
  const made = keystore.keys.filter((key) => !document.keys.some((listed) => isSameKey(listed, key)));
  return { gateways, newKeys: made.length, serial: register.serial };
}

/** Gateways of records have a whole ciphertext each: where it has other lanes now, they are leased new ones. */
function withRecordLanes(document: PlantDocument, lanes: number): PlantDocument {
  const gateways: GatewayEntry[] = [...document.gateways];
  gateways.forEach((entry, i) => {
    if (entry.recordLanes === undefined || !isInService(entry)) return;
    if (entry.firstLane % lanes === 0 && entry.recordLanes >= lanes) return;
    gateways[i] = { ...entry, firstLane: wholeCiphertext(nextLane({ gateways }), lanes), recordLanes: lanes };
  });
  return { ...document, gateways };
}

/** The keystore with active keys for the deployment's parameters and mode, and no other active ones. */
async function keystoreFor(
  keystore: Keystore,
  { params: document, keyMode }: AnyDeployment,
  gateways: readonly string[],
  retirement: { readonly retainMs: number; readonly nowMs: number },
): Promise<Keystore> {
  const params = paramsFromDocument(document);
  const id = paramsId(params);
  const fits = (key: Keystore["keys"][number]) => key.paramsId === id && (key.gateway === null) === (keyMode === "public");
  const current = retireKeys(keystore, (key) => !fits(key), retirement);
  if (current.keys.some((key) => key.state === "active" && fits(key))) return current;
  if (keyMode === "symmetric" && gateways.length === 0) return current; // keys come with the gateways
  return activateEpoch(await addEpoch(current, params, keyMode, gateways, retirement.nowMs), retirement);
}
