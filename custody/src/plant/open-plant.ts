import { existsSync } from "node:fs";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { AuditAction } from "@smile/runtime/audit-entry";
import { openAuditLog } from "@smile/runtime/audit-log";
import type { Environment } from "@smile/runtime/config";
import { readAnyDeployment, readDocument } from "@smile/runtime/document-file";
import { readJsonFile, writeJsonFile } from "@smile/runtime/json-file";
import type { Lease } from "@smile/schemas/documents";
import { publicHalf, signingKey } from "@smile/schemas/ed25519";
import { type PlantRegister, signRegister } from "@smile/schemas/plant-register";
import type { AnyDeployment } from "@smile/schemas/record-documents";
import { ServiceDocument } from "@smile/schemas/service-document";
import { type Keystore, readKeystore, writeKeystore } from "../keystore.ts";
import { readSealed } from "../sealed-file.ts";
import { keyNotes } from "./key-notes.ts";
import { plantPaths } from "./paths.ts";
import { isInService, PlantDocument, PlantSecrets } from "./plant-document.ts";
import { lockPlant } from "./plant-lock.ts";
import { keyEntries, registrationOf } from "./register.ts";

/** How a command gets at a plant's folder. */
export type PlantAccess = {
  readonly folder: string;
  readonly passphrase: string;
  readonly env: Environment;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** scrypt's N; only tests have a reason to name one. */
  readonly cost?: number;
};

export type OpenPlant = {
  readonly access: PlantAccess;
  readonly paths: ReturnType<typeof plantPaths>;
  readonly document: PlantDocument;
  readonly secrets: PlantSecrets;
  readonly keystore: Keystore;
  readonly deployment: AnyDeployment;
  readonly service: ServiceDocument | null;
};

/** A line for the audit log. */
export type AuditNote = readonly [action: AuditAction, facts: Readonly<Record<string, string | number | boolean>>];

export type Change = {
  /** Its serial and keys are set here. */
  readonly document: PlantDocument;
  readonly keystore?: Keystore;
  /** Besides those about the keystore's keys, which are made here. */
  readonly notes: readonly AuditNote[];
  /** Writes the files that hold HE keys: once the keystore has them. */
  readonly handOut?: () => void;
};

/** @throws {PipelineError} FILE_MISSING when the folder is no plant's; FILE_DAMAGED, DOCUMENT_INVALID */
export function readPlantDocument(folder: string): PlantDocument {
  const path = plantPaths(folder).plant;
  if (!existsSync(path)) {
    throw new PipelineError("FILE_MISSING", `${folder} is no plant's folder: there is no plant.json; \`smile plant init\` makes one`, {
      path,
    });
  }
  return readDocument(PlantDocument, path, "plant");
}

/**
 * Opens a plant for a change; nobody else may until it is disposed of.
 * @throws {PipelineError} as `readPlantDocument`, `lockPlant`, `readSealed` and `readAnyDeployment`
 */
export async function openPlant(access: PlantAccess): Promise<OpenPlant & Disposable> {
  const paths = plantPaths(access.folder);
  readPlantDocument(access.folder); // nothing is locked where there is no plant
  using opened = new DisposableStack();
  opened.use(lockPlant(access.folder));
  const document = readPlantDocument(access.folder);
  // One after the other: scrypt takes 128 MiB each.
  const secrets = await readSealed(paths.secrets, "plant-secrets", PlantSecrets, access.passphrase);
  const keystore = await readKeystore(paths.keystore, access.passphrase);
  const strays = [
    ...(publicHalf(signingKey(secrets.identityKey)) === document.identity ? [] : [paths.secrets]),
    ...(keystore.plant === document.plant ? [] : [paths.keystore]),
  ];
  if (strays.length > 0) {
    throw new PipelineError("DOCUMENT_INVALID", `${strays.join(", ")}: not of the plant of ${paths.plant}`, { plant: document.plant });
  }
  const deployment = readAnyDeployment(paths.deployment, access.env);
  const service = existsSync(paths.service) ? readDocument(ServiceDocument, paths.service, "service") : null;
  const lock = opened.move();
  return { access, paths, document, secrets, keystore, deployment, service, [Symbol.dispose]: () => lock.dispose() };
}

/**
 * Makes a change last: audit log, keystore, what gateways and the console read, register, and plant.json last. Recorded first, since a
 * key that is destroyed does not come back; nobody is handed a key before the keystore holds its secret. Whatever a crash leaves, running
 * the command again ends it: until plant.json names something, it is not there, and a register that was written is followed by one with a
 * higher serial.
 * @throws {PipelineError} STORE_UNAVAILABLE; DOCUMENT_INVALID before anything is written
 */
export async function commit({ access, paths, document: before, secrets, keystore: stored }: OpenPlant, change: Change) {
  const { passphrase, nowMs, cost } = access;
  const keystore = change.keystore ?? stored;
  const document: PlantDocument = {
    ...change.document,
    serial: 1 + Math.max(before.serial, writtenSerial(paths.register)),
    keys: keyEntries(keystore, change.document.keys, nowMs),
  };
  const register = signRegister(registrationOf(document, keystore, nowMs), signingKey(secrets.identityKey));
  using audit = openAuditLog({ path: paths.audit, actor: `smile plant ${document.plant}`, clock: () => nowMs });
  for (const [action, facts] of [...keyNotes(stored, keystore), ...change.notes]) audit.append(action, facts);
  audit.append("register-exported", { serial: register.serial });
  if (keystore !== stored) await writeKeystore(paths.keystore, keystore, passphrase, { replace: true, ...(cost && { cost }) });
  change.handOut?.();
  writeJsonFile(`${paths.console}/leases.json`, leasesOf(document), 0o600);
  writeJsonFile(paths.register, register);
  // A gateway checks its keys against the register before it uses them; a folder that was carried away gets its copy by hand.
  for (const { gateway } of document.gateways.filter(isInService)) {
    if (existsSync(paths.gateway(gateway))) writeJsonFile(join(paths.gateway(gateway), "register.json"), register);
  }
  writeJsonFile(paths.plant, document, 0o600);
  return { document, register };
}

/** Leases of the gateways in service that have machines, as the console reads them. */
function leasesOf({ gateways }: PlantDocument): Lease[] {
  const leased = gateways.filter((entry) => isInService(entry) && entry.machines.length > 0);
  return leased.map(({ gateway, firstLane, machines }) => ({ gateway, firstLane, machines }));
}

/** Of the register that stands there, even where plant.json does not know of it; 0 without one. */
function writtenSerial(path: string): number {
  if (!existsSync(path)) return 0;
  try {
    const { serial } = readJsonFile(path, "register") as Partial<PlantRegister>;
    return Number.isSafeInteger(serial) ? serial! : 0;
  } catch {
    return 0; // damaged: it is written anew
  }
}
