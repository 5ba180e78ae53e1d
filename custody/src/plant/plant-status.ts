import { existsSync } from "node:fs";
import { readJsonFile } from "@smile/runtime/json-file";
import { identityHash, openRegister } from "@smile/schemas/plant-register";
import { readPlantDocument } from "./open-plant.ts";
import { plantPaths } from "./paths.ts";
import { type Credential, isInService } from "./plant-document.ts";

/** From this long before a certificate ends, the status says so. */
const SOON_MS = 30 * 86_400_000;

/**
 * What a plant has, and what somebody should do about it. Needs no passphrase.
 * @returns `todo`: one sentence per thing to do, most urgent first; empty when all is well
 * @throws {PipelineError} FILE_MISSING when the folder is no plant's; FILE_DAMAGED, DOCUMENT_INVALID, SIGNATURE_INVALID
 */
export function plantStatus(folder: string, nowMs: number) {
  const document = readPlantDocument(folder);
  const { plant, serial, tls, consoles, gateways, keys } = document;
  const paths = plantPaths(folder);
  const pinned = identityHash(document.identity);
  const register = existsSync(paths.register) ? openRegister(readJsonFile(paths.register, "register"), pinned, paths.register) : undefined;
  const holders = [
    ...consoles.map(({ console, credentials }) => ({ what: `console ${console}`, command: "renew-console", credentials })),
    ...gateways
      .filter(isInService)
      .map(({ gateway, credentials }) => ({ what: `gateway ${gateway}`, command: `renew-gateway ${gateway}`, credentials })),
  ];
  const todo = [
    ...(register?.serial === serial ? [] : ["register.json is not the newest one: run `smile plant export-public`"]),
    ...holders.flatMap(({ what, command, credentials }) => credentialsToDo(what, command, credentials, tls, nowMs)),
    ...(keys.some(({ state }) => state === "next")
      ? ["a new key epoch waits: once the service has register.json, run `smile plant activate-keys`"]
      : []),
    ...(keys.some(({ untilMs }) => untilMs !== null && untilMs <= nowMs)
      ? ["the retention of a key has ended: run `smile plant destroy-keys`"]
      : []),
    ...(existsSync(paths.service) ? [] : ["the console needs the service's document: run `smile plant use-service FILE`"]),
  ];
  return {
    plant,
    identityHash: pinned,
    serial,
    tls,
    gateways: gateways.map(({ gateway, firstLane, machines, credentials }) => {
      const active = credentials.find(({ state }) => state === "active");
      return {
        gateway,
        state: active === undefined ? "revoked" : credentials.some(({ state }) => state === "next") ? "renewing" : "active",
        firstLane,
        lanes: machines.length,
        certificateEndsMs: active?.certificateEndsMs ?? null,
      };
    }),
    keys: keys.map(({ keyEpoch, gateway, keyId, state, untilMs }) => ({ keyEpoch, gateway, keyId, state, untilMs })),
    todo,
  };
}

function credentialsToDo(what: string, command: string, credentials: readonly Credential[], tls: boolean, nowMs: number): string[] {
  const counting = credentials.filter(({ state }) => state === "active" || state === "next");
  if (tls && counting.some(({ certificateHash }) => certificateHash === null)) {
    return [`${what} awaits its certificate: run \`smile plant accept-certificate\``];
  }
  if (counting.some(({ state }) => state === "next")) {
    return [
      `${what} has a new credential: once the service has register.json, run \`smile plant ${command.replace("renew", "activate")}\``,
    ];
  }
  const ends = counting.find(({ certificateEndsMs }) => certificateEndsMs !== null && certificateEndsMs - nowMs < SOON_MS);
  if (ends === undefined) return [];
  return [`the certificate of ${what} ends on ${new Date(ends.certificateEndsMs!).toISOString()}: run \`smile plant ${command}\``];
}
