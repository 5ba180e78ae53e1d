import { mkdirSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import { writePemFile } from "@smile/identity/pem-file";
import { readDocument } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { requireTlsUrl } from "@smile/runtime/tls-config";
import { documentId } from "@smile/schemas/documents";
import { ServiceDocument } from "@smile/schemas/service-document";
import { brokerConnection, CONSOLE_CONFIGURATIONS, changeConfiguration, GATEWAY_CONFIGURATIONS } from "./config-files.ts";
import { commit, openPlant, type PlantAccess } from "./open-plant.ts";
import { isInService } from "./plant-document.ts";

/**
 * Reads a service's document, and refuses one that the plant cannot connect to.
 * @param tls whether the plant has certificates
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID; CONFIG_INVALID when it asks for certificates and there are none;
 *   TLS_REQUIRED when it asks for none beyond this machine, and the plant was not made without
 */
export function readService(path: string, tls: boolean): ServiceDocument {
  const service = readDocument(ServiceDocument, path, "service");
  for (const what of ["framesUrl", "scoresUrl"] as const) {
    if (tls) requireTlsUrl(service[what], undefined, `${path}: ${what}`);
    else if (service[what].startsWith("mqtts:")) {
      throw new PipelineError("CONFIG_INVALID", `${path}: ${what} asks for a certificate, and this plant was made without TLS`, { path });
    }
  }
  return service;
}

/** What a service has to show a client of the plant, in that client's folder. */
export function writeServiceFiles(folder: string, service: ServiceDocument | null, copy: boolean): void {
  if (service === null) return;
  mkdirSync(folder, { recursive: true, mode: 0o700 }); // it may have been moved to the gateway, not copied
  if (copy) writeJsonFile(`${folder}/service.json`, service);
  if (service.certificateAuthority !== null) writePemFile(`${folder}/authority.pem`, service.certificateAuthority, 0o644);
}

/**
 * Takes a service's document, a first one or a newer one, to the console and to every gateway's folder. Of their configurations it
 * changes how the brokers are reached, and nothing else.
 * @returns `service`: the document's id, to compare with what the operator tells
 * @throws {PipelineError} as `readService`
 */
export async function useService(
  access: PlantAccess,
  file: string,
): Promise<{ readonly service: string; readonly gateways: string[]; readonly serial: number }> {
  using plant = await openPlant(access);
  const { document, paths } = plant;
  const service = readService(file, document.tls);
  const with_ = { service, tls: document.tls };
  const gateways = document.gateways.filter(isInService).map(({ gateway }) => gateway);
  for (const gateway of gateways) {
    const folder = paths.gateway(gateway);
    writeServiceFiles(folder, service, true);
    for (const file of Object.values(GATEWAY_CONFIGURATIONS)) {
      reconnect(`${folder}/${file}`, { service: "service.json", ...brokerConnection("framesUrl", with_) });
    }
  }
  writeServiceFiles(paths.console, service, false);
  for (const file of Object.values(CONSOLE_CONFIGURATIONS)) reconnect(`${paths.console}/${file}`, brokerConnection("scoresUrl", with_));
  writeJsonFile(paths.service, service);
  const notes = [["score-signers-pinned", { service: documentId(service), signers: service.scoreSigners.length }]] as const;
  const { register } = await commit(plant, { document, notes });
  return { service: documentId(service), gateways, serial: register.serial };
}

/** Puts another connection into a configuration that stands there; the rest of it stays. */
function reconnect(path: string, connection: Readonly<Record<string, unknown>>): void {
  changeConfiguration(path, ({ tls: _, withoutTls: __, mqtt, ...kept }) => ({
    ...kept,
    ...connection,
    mqtt: { ...(mqtt as object), ...(connection.mqtt as object) },
  }));
}
