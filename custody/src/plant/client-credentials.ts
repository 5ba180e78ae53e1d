import { existsSync, mkdirSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import { certificateHash, onlyCertificates } from "@smile/identity/check-certificate";
import { readPemFile } from "@smile/identity/pem-file";
import { readSigningKey } from "@smile/runtime/signing-key-file";
import { activated, type Client, type IssueOptions, issueCredential, moveCredential, settled, takeCertificate } from "./credentials.ts";
import { gatewayInService, withGateway } from "./gateways.ts";
import { commit, type OpenPlant, openPlant, type PlantAccess } from "./open-plant.ts";
import { credentialPaths, nextFolder } from "./paths.ts";
import type { Credential, PlantDocument } from "./plant-document.ts";

/**
 * Takes the certificate that the plant's own authority issued upon a signing request.
 * @param certificate PEM
 * @param authority PEM of the authority, where the plant does not know it yet
 * @throws {PipelineError} CERTIFICATE_INVALID; CONFIG_INVALID when no certificate of this client is awaited
 */
export async function acceptCertificate(
  access: PlantAccess,
  { client, certificate, authority }: { readonly client: Client; readonly certificate: string; readonly authority?: string | undefined },
) {
  using plant = await openPlant(access);
  const credentials = credentialsOf(plant.document, client);
  const awaiting = credentials.find(({ certificateHash, state }) => certificateHash === null && (state === "next" || state === "active"));
  if (!plant.document.tls || awaiting === undefined) {
    throw new PipelineError("CONFIG_INVALID", `${client.role} ${client.name} awaits no certificate`, { name: client.name });
  }
  const folder = awaiting.state === "next" ? nextFolder(folderOf(plant, client)) : folderOf(plant, client);
  const known = plant.document.certificateAuthority ?? "";
  const named = onlyCertificates(authority ?? "");
  const authorities = known.includes(named) ? known : known + named;
  const taken = takeCertificate(plant, client, folder, certificate, authorities);
  const document = withCredentials(
    { ...plant.document, certificateAuthority: authorities },
    client,
    credentials.map((each) => (each === awaiting ? { ...each, ...taken } : each)),
  );
  const notes = [
    ["key-activated", { what: "certificate", for: `${client.role} ${client.name}`, certificateHash: taken.certificateHash }],
  ] as const;
  const { register } = await commit(plant, { document, notes });
  return { ...client, folder, waits: awaiting.state === "next", serial: register.serial };
}

/**
 * Makes the console a new certificate, which waits in `console/next/` for `activateCredential`.
 * @throws {PipelineError} CONFIG_INVALID for a plant without TLS
 */
export async function renewConsole(access: PlantAccess, { console: name, ...issue }: { readonly console: string } & IssueOptions) {
  using plant = await openPlant(access);
  const client: Client = { role: "console", name };
  const credentials = settled(credentialsOf(plant.document, client));
  const folder = nextFolder(folderOf(plant, client));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { certificateHash, certificateEndsMs, request, notes } = await issueCredential(plant, client, folder, {
    ...issue,
    nowMs: access.nowMs,
  });
  const next: Credential = { certificateHash, certificateEndsMs, state: "next", untilMs: null };
  const { register } = await commit(plant, { document: withCredentials(plant.document, client, [...credentials, next]), notes });
  return { console: name, folder, request, serial: register.serial };
}

/**
 * Puts what `renewGateway` or `renewConsole` made in its place; what was there before goes on counting for a while. The service must have
 * taken the register by then.
 * @param retainMs for how long what is replaced still counts
 * @throws {PipelineError} CONFIG_INVALID when nothing waits, its certificate has still to be accepted, or other files wait than are
 *   registered
 */
export async function activateCredential(
  access: PlantAccess,
  { client, retainMs }: { readonly client: Client; readonly retainMs: number },
) {
  using plant = await openPlant(access);
  const whose = `${client.role} ${client.name}`;
  const credentials = activated(credentialsOf(plant.document, client), whose, plant.document.tls, access.nowMs + retainMs);
  const folder = folderOf(plant, client);
  checkWaiting(credentials.find(({ state }) => state === "active")!, nextFolder(folder), folder, whose);
  moveCredential(nextFolder(folder), folder);
  const notes = [["key-activated", { what: "credential", for: whose }]] as const;
  const { register } = await commit(plant, { document: withCredentials(plant.document, client, credentials), notes });
  return { ...client, folder, serial: register.serial };
}

/**
 * Refuses files that are not what is registered, as those of a renewal that was killed: what the gateway signed with them would be lost.
 * Some may be in their place already, moved there by an activation that was killed.
 */
function checkWaiting(next: Credential & { readonly signingKey?: string }, from: string, to: string, whose: string): void {
  const [source, target] = [credentialPaths(from), credentialPaths(to)];
  const pathOf = (file: "signingKey" | "certificate") => (existsSync(source[file]) ? source[file] : target[file]);
  const isRegistered =
    (next.signingKey === undefined || readSigningKey(pathOf("signingKey")).publicKey === next.signingKey) &&
    (next.certificateHash === null || certificateHash(readPemFile(pathOf("certificate"), "certificate")) === next.certificateHash);
  if (isRegistered) return;
  throw new PipelineError("CONFIG_INVALID", `the new credential of ${whose} is not the one that is registered: renew it once more`, {
    folder: from,
  });
}

function folderOf({ paths }: OpenPlant, { role, name }: Client): string {
  return role === "gateway" ? paths.gateway(name) : paths.console;
}

function credentialsOf(document: PlantDocument, { role, name }: Client): readonly Credential[] {
  if (role === "gateway") return gatewayInService(document, name).credentials;
  const found = document.consoles.find((each) => each.console === name);
  if (found !== undefined) return found.credentials;
  throw new PipelineError("CONFIG_INVALID", `plant ${document.plant} has no console ${name} with a certificate`, { console: name });
}

function withCredentials(document: PlantDocument, { role, name }: Client, credentials: readonly Credential[]): PlantDocument {
  if (role === "gateway") {
    const known = gatewayInService(document, name);
    return withGateway(document, { ...known, credentials: credentials as typeof known.credentials });
  }
  const consoles = document.consoles.map((each) => (each.console === name ? { ...each, credentials: [...credentials] } : each));
  return { ...document, consoles };
}
