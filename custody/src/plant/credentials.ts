import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import { certificateHash, checkAuthority, checkCertificate, expiresAtMs, onlyCertificates } from "@smile/identity/check-certificate";
import { createRequest, issueClientCertificate } from "@smile/identity/client-certificate";
import { readPemFile, writePemFile } from "@smile/identity/pem-file";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import type { AuditNote, OpenPlant } from "./open-plant.ts";
import { credentialPaths } from "./paths.ts";
import type { Credential, PlantDocument, PlantSecrets } from "./plant-document.ts";

/** A gateway, or the console, of a plant. */
export type Client = Pick<PeerIdentity, "role" | "name">;

export type IssueOptions = {
  /** Ask an authority elsewhere instead of issuing the certificate; always so where the plant has none of its own. */
  readonly request?: boolean | undefined;
  /** How long the certificate is in force. */
  readonly days: number;
};

type Issued = Pick<Credential, "certificateHash" | "certificateEndsMs"> & {
  /** Path of a signing request that somebody has to carry to the authority; null where there is none. */
  readonly request: string | null;
  readonly notes: readonly AuditNote[];
};

/**
 * Makes a client's key and certificate, or its key and a signing request, in a folder. Without TLS it makes nothing.
 * @throws {PipelineError} CERTIFICATE_INVALID, STORE_UNAVAILABLE
 */
export async function issueCredential(
  { document, secrets }: { readonly document: Pick<PlantDocument, "plant" | "tls">; readonly secrets: Pick<PlantSecrets, "authority"> },
  client: Client,
  folder: string,
  { request, days, nowMs }: IssueOptions & { readonly nowMs: number },
): Promise<Issued> {
  if (!document.tls) return { certificateHash: null, certificateEndsMs: null, request: null, notes: [] };
  const { plant } = document;
  const paths = credentialPaths(folder);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (request || secrets.authority === null) {
    const made = await createRequest({ plant, ...client });
    rmSync(paths.certificate, { force: true });
    writePemFile(paths.key, made.key, 0o600);
    writePemFile(paths.request, made.request, 0o644);
    const notes = [["key-made", { what: "certificate key", for: `${client.role} ${client.name}` }]] as const;
    return { certificateHash: null, certificateEndsMs: null, request: paths.request, notes };
  }
  const issued = await issueClientCertificate(secrets.authority, { plant, ...client, days, nowMs });
  rmSync(paths.request, { force: true });
  writePemFile(paths.key, issued.key, 0o600);
  writePemFile(paths.certificate, issued.certificate, 0o644);
  const hash = certificateHash(issued.certificate);
  return {
    certificateHash: hash,
    certificateEndsMs: expiresAtMs(issued.certificate),
    request: null,
    notes: [["key-used", { what: "certificate authority", for: `${client.role} ${client.name}`, certificateHash: hash }]],
  };
}

/**
 * Takes a certificate that an authority elsewhere issued upon our request, into the folder where its key is.
 * @param authorities PEM of all that may have issued it
 * @throws {PipelineError} CERTIFICATE_INVALID
 */
export function takeCertificate(plant: OpenPlant, client: Client, folder: string, certificate: string, authorities: string) {
  const paths = credentialPaths(folder);
  checkAuthority(authorities, "the authority");
  checkCertificate(certificate, {
    plant: plant.document.plant,
    ...client,
    authority: authorities,
    key: readPemFile(paths.key, "key"),
    nowMs: plant.access.nowMs,
  });
  // With those between it and its authority, where the file has them.
  writePemFile(paths.certificate, onlyCertificates(certificate), 0o644);
  rmSync(paths.request, { force: true });
  return { certificateHash: certificateHash(certificate), certificateEndsMs: expiresAtMs(certificate) };
}

/** Moves what waits in one folder to the other; what was moved before a crash is there already. */
export function moveCredential(from: string, to: string): void {
  const source = credentialPaths(from);
  const target = credentialPaths(to);
  // The certificate last: readers look at the pair once its certificate is another one.
  for (const file of ["signingKey", "key", "certificate"] as const) {
    if (existsSync(source[file])) renameSync(source[file], target[file]);
  }
  rmSync(from, { recursive: true, force: true });
}

/** Retired credentials that stay registered, so that what they signed is still believed. A register takes a hundred in all. */
const MOST_KEPT = 50;

/** A client's credentials without one that waits, and without those that retired longest ago where there are very many. */
export function settled<C extends Credential>(credentials: readonly C[]): C[] {
  return credentials.filter(({ state }) => state !== "next").slice(-MOST_KEPT);
}

/**
 * Standings once the next credential has taken over: those that were active retire.
 * @throws {PipelineError} CONFIG_INVALID when none waits, or its certificate has still to come
 */
export function activated<C extends Credential>(credentials: readonly C[], whose: string, tls: boolean, untilMs: number): C[] {
  const next = credentials.find(({ state }) => state === "next");
  if (next === undefined) throw new PipelineError("CONFIG_INVALID", `no new credential of ${whose} waits to be activated`);
  if (tls && next.certificateHash === null) {
    throw new PipelineError(
      "CONFIG_INVALID",
      `the new certificate of ${whose} has still to be accepted: \`smile plant accept-certificate\``,
    );
  }
  return credentials.map((each) => {
    if (each === next) return { ...each, state: "active" };
    return each.state === "active" ? { ...each, state: "retiring", untilMs } : each;
  });
}
