import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { createAuthority } from "@smile/identity/authority";
import { checkAuthority, onlyCertificates } from "@smile/identity/check-certificate";
import { readPemFile } from "@smile/identity/pem-file";
import { readAnyDeployment } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { documentId } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { identityHash } from "@smile/schemas/plant-register";
import type { AnyDeployment } from "@smile/schemas/record-documents";
import { newSigningKey } from "@smile/schemas/signing-key";
import { NAME } from "@smile/schemas/topics";
import { createKeystore, type Keystore, writeKeystore } from "../keystore.ts";
import { writeSealed } from "../sealed-file.ts";
import { CONSOLE_CONFIGURATIONS, consoleConfiguration, segmentConsoleConfiguration } from "./config-files.ts";
import { profilesBeside, writeProfiles } from "./console-profiles.ts";
import { issueCredential } from "./credentials.ts";
import { keyNotes } from "./key-notes.ts";
import { type AuditNote, commit, type PlantAccess } from "./open-plant.ts";
import { plantPaths } from "./paths.ts";
import type { PlantDocument, PlantSecrets } from "./plant-document.ts";
import { lockPlant } from "./plant-lock.ts";
import { readService, writeServiceFiles } from "./service-file.ts";

/** Name of a plant's console in its certificate and its register. */
export const CONSOLE = "console";
/** Ten years: every gateway's certificate hangs on it. */
const AUTHORITY_DAYS = 3650;

export type InitOptions = {
  readonly plant: string;
  /** Path of the deployment document. */
  readonly deployment: string;
  /** Path of the service document; without it the brokers are those of this machine. */
  readonly service?: string | undefined;
  readonly tls: boolean;
  /** Path of the certificate of the plant's own authority, which then issues every certificate upon a signing request. */
  readonly authority?: string | undefined;
  /** Path that the console's configuration names; without it the console's passphrase comes from its environment. */
  readonly passphraseFile?: string | undefined;
  /** Of the console's certificate. */
  readonly days: number;
};

/**
 * Makes a plant's folder: identity, authority, keystore, the console's certificate and configuration, register. The folder may exist,
 * but nothing of a plant in it. What fails leaves nothing behind but an empty plant.lock.
 * @throws {PipelineError} CONFIG_INVALID when a plant, or what is left of one, is there; DOCUMENT_INVALID, CERTIFICATE_INVALID
 */
export async function initPlant(access: PlantAccess, options: InitOptions) {
  const { folder, passphrase, env, nowMs, cost } = access;
  const { plant, tls, days, passphraseFile } = options;
  if (!NAME.test(plant)) {
    const what = `plant ${JSON.stringify(plant)}: a name has 1 to 64 letters, digits, dots, dashes or underscores`;
    throw new PipelineError("CONFIG_INVALID", what, { field: "plant" });
  }
  const deployment = readAnyDeployment(options.deployment, env);
  const profiles = profilesBeside(options.deployment, deployment);
  const service = options.service === undefined ? null : readService(options.service, tls);
  const foreign = options.authority === undefined ? null : onlyCertificates(readPemFile(options.authority, "authority"));
  if (foreign !== null) checkAuthority(foreign, options.authority!);
  const paths = plantPaths(folder);
  const own = [paths.plant, paths.secrets, paths.keystore, paths.register, paths.service, paths.deployment, paths.audit];
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // Of two at once, the one that fails must not clear away what the other made.
  using _lock = lockPlant(folder);
  checkFree(folder, [...own, paths.console, paths.gateways]);

  try {
    const identity = newSigningKey(`plant ${plant}`);
    const issues = tls && foreign === null;
    const authority = issues ? await createAuthority({ name: `plant ${plant}`, days: AUTHORITY_DAYS, nowMs }) : null;
    const secrets: PlantSecrets = { kind: "plant-secrets", version: 1, plant, identityKey: identity.secretKey, authority };
    const keystore = await firstKeystore(plant, deployment, nowMs);
    await writeSealed(paths.secrets, "plant-secrets", secrets, passphrase, { ...(cost && { cost }) });
    await writeKeystore(paths.keystore, keystore, passphrase, { ...(cost && { cost }) });
    writeJsonFile(paths.deployment, deployment);
    if (service !== null) writeJsonFile(paths.service, service);

    mkdirSync(paths.gateways, { mode: 0o700 });
    mkdirSync(paths.console, { mode: 0o700 });
    const console = { role: "console", name: CONSOLE } as const;
    const issued = await issueCredential({ document: { plant, tls }, secrets }, console, paths.console, { days, nowMs });
    writeServiceFiles(paths.console, service, false);
    const pinned = identityHash(identity.publicKey);
    const fromConsole = passphraseFile === undefined ? undefined : relative(resolve(paths.console), resolve(passphraseFile));
    const configuration = { service, tls, identity: pinned, passphraseFile: fromConsole };
    writeProfiles(paths.console, profiles);
    if (deployment.kind === "segment-deployment") {
      const written = segmentConsoleConfiguration(plant, configuration, profiles !== null);
      writeJsonFile(join(paths.console, CONSOLE_CONFIGURATIONS.records), written);
    } else writeJsonFile(join(paths.console, CONSOLE_CONFIGURATIONS.machines), consoleConfiguration(plant, configuration));

    const { certificateHash, certificateEndsMs, request } = issued;
    const document: PlantDocument = {
      kind: "plant",
      version: 1,
      plant,
      serial: 0,
      identity: identity.publicKey,
      tls,
      certificateAuthority: tls ? (foreign ?? authority!.certificate) : null,
      consoles: tls ? [{ console: CONSOLE, credentials: [{ certificateHash, certificateEndsMs, state: "active", untilMs: null }] }] : [],
      gateways: [],
      keys: [],
    };
    const notes: AuditNote[] = [
      ["key-made", { what: "plant identity", identityHash: pinned }],
      ...(issues ? [["key-made", { what: "certificate authority" }] as const] : []),
      ...keyNotes({ keys: [], destroyed: [] }, keystore),
      ...issued.notes,
    ];
    const { register } = await commit({ access, paths, document, secrets, keystore, deployment, service }, { document, notes });
    return {
      plant,
      identityHash: pinned,
      serial: register.serial,
      keyMode: deployment.keyMode,
      sends: deployment.kind === "segment-deployment" ? ("records" as const) : ("machines" as const),
      request,
      service: service && documentId(service),
    };
  } catch (error) {
    // Nothing of it was told to anybody.
    for (const path of [...own, `${paths.audit}-wal`, `${paths.audit}-shm`, paths.console, paths.gateways]) {
      rmSync(path, { recursive: true, force: true });
    }
    throw error;
  }
}

/** In symmetric mode keys come with the gateways. */
async function firstKeystore(plant: string, { params, keyMode }: AnyDeployment, nowMs: number): Promise<Keystore> {
  if (keyMode === "symmetric") return { kind: "keystore", version: 2, plant, keys: [], destroyed: [] };
  return await createKeystore(plant, paramsFromDocument(params), keyMode, [], nowMs);
}

function checkFree(folder: string, paths: readonly string[]): void {
  const [taken] = paths.filter((path) => existsSync(path));
  if (taken === undefined) return;
  const whole = existsSync(plantPaths(folder).plant);
  const what = whole ? `${folder} holds a plant already` : `${taken} stands there, left of a plant that was not finished, or is not whole`;
  throw new PipelineError("CONFIG_INVALID", `${what}; nothing is replaced: name another folder, or remove it yourself`, { folder });
}
