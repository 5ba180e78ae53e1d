import { existsSync, mkdirSync, rmSync } from "node:fs";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { createAuthority } from "@smile/identity/authority";
import { certificateHash, expiresAtMs } from "@smile/identity/check-certificate";
import { readPemFile, writePemFile } from "@smile/identity/pem-file";
import { hostsOf, issueServerCertificate } from "@smile/identity/server-certificate";
import { type AuditLog, openAuditLog } from "@smile/runtime/audit-log";
import { writeJsonFile } from "@smile/runtime/json-file";
import { checkPrivate } from "@smile/runtime/private-file";
import { parseDocument } from "@smile/schemas/documents";
import { frameCodec, gapCodec } from "@smile/schemas/envelopes";
import { ServiceDocument } from "@smile/schemas/service-document";
import { newSigningKey } from "@smile/schemas/signing-key";

/** Ten years: every plant holds the authority's certificate. */
const AUTHORITY_DAYS = 3650;

export function servicePaths(folder: string) {
  return {
    /** Public: for the plants. */
    service: join(folder, "service.json"),
    authority: join(folder, "authority.pem"),
    authorityKey: join(folder, "authority-key.pem"),
    /** For whoever runs the brokers. */
    brokers: join(folder, "stream-processor"),
    certificate: join(folder, "stream-processor", "certificate.pem"),
    key: join(folder, "stream-processor", "key.pem"),
    /** For whoever runs the model service. */
    modelService: join(folder, "model-service"),
    signingKey: join(folder, "model-service", "signing-key.json"),
    audit: join(folder, "audit.db"),
  };
}

export type ServiceInit = {
  readonly folder: string;
  readonly name: string;
  readonly hosts: readonly string[];
  readonly framesUrl?: string | undefined;
  readonly scoresUrl?: string | undefined;
  readonly tls: boolean;
  /** Of the server's certificate. */
  readonly days: number;
  readonly nowMs: number;
};

/**
 * Makes an operator's folder: authority and server certificate of the brokers, the model service's signing key, and the document that
 * tells plants of them. What fails leaves nothing behind.
 * @throws {PipelineError} CONFIG_INVALID when a service, or what is left of one, is there; CERTIFICATE_INVALID for a host that is none;
 *   DOCUMENT_INVALID for a URL that is none
 */
export async function initService({ folder, name, hosts, tls, days, nowMs, ...urls }: ServiceInit) {
  const paths = servicePaths(folder);
  const own = [paths.service, paths.authority, paths.authorityKey, paths.brokers, paths.modelService, paths.audit];
  const taken = own.find((path) => existsSync(path));
  if (taken !== undefined) {
    throw new PipelineError("CONFIG_INVALID", `${taken} stands there; nothing is replaced: name another folder, or remove it yourself`, {
      folder,
    });
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // Of two at once, one fails here, and clears nothing away that the other made.
  mkdirSync(paths.modelService, { mode: 0o700 });
  try {
    const signing = newSigningKey(`model service of ${name}`);
    const authority = tls ? await createAuthority({ name: `operator ${name}`.slice(0, 64), days: AUTHORITY_DAYS, nowMs }) : null;
    const host = isIPv6(hosts[0]!) ? `[${hosts[0]}]` : hosts[0];
    const [scheme, framesPort, scoresPort] = tls ? ["mqtts", 8883, 8884] : ["mqtt", 1883, 1884];
    const service = parseDocument(
      ServiceDocument,
      {
        kind: "service",
        version: 1,
        name,
        framesUrl: urls.framesUrl ?? `${scheme}://${host}:${framesPort}`,
        scoresUrl: urls.scoresUrl ?? `${scheme}://${host}:${scoresPort}`,
        certificateAuthority: authority?.certificate ?? null,
        scoreSigners: [signing.publicKey],
        reads: { frame: [...frameCodec.versions], gap: [...gapCodec.versions] },
      },
      "service",
    );
    using audit = openAuditLog({ path: paths.audit, actor: "smile service", clock: () => nowMs });
    writeJsonFile(paths.signingKey, signing, 0o600);
    audit.append("key-made", { what: "score signing key", signingKey: signing.publicKey });
    if (authority !== null) {
      writePemFile(paths.authorityKey, authority.key, 0o600);
      writePemFile(paths.authority, authority.certificate, 0o644);
      audit.append("key-made", { what: "certificate authority", certificateHash: certificateHash(authority.certificate) });
      mkdirSync(paths.brokers, { mode: 0o700 });
      await writeServerCertificate(paths, authority, { hosts, days, nowMs }, audit);
    }
    writeJsonFile(paths.service, service);
    return { service, paths };
  } catch (error) {
    for (const path of [...own, `${paths.audit}-wal`, `${paths.audit}-shm`]) rmSync(path, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Makes the brokers a new key and certificate by the same authority, which the running brokers take by themselves.
 * @param hosts default: those of the certificate that stands there
 * @throws {PipelineError} FILE_MISSING when there is no authority; CONFIG_INVALID when others may read its key; CERTIFICATE_INVALID
 */
export async function renewService(options: { folder: string; hosts?: readonly string[] | undefined; days: number; nowMs: number }) {
  const paths = servicePaths(options.folder);
  checkPrivate(paths.authorityKey, "authority's key");
  const authority = { certificate: readPemFile(paths.authority, "authority"), key: readPemFile(paths.authorityKey, "authority key") };
  const hosts = options.hosts ?? hostsOf(readPemFile(paths.certificate, "certificate"));
  mkdirSync(paths.brokers, { recursive: true, mode: 0o700 });
  using audit = openAuditLog({ path: paths.audit, actor: "smile service", clock: () => options.nowMs });
  const endsMs = await writeServerCertificate(paths, authority, { ...options, hosts }, audit);
  return { hosts, endsMs, paths };
}

async function writeServerCertificate(
  paths: ReturnType<typeof servicePaths>,
  authority: { certificate: string; key: string },
  { hosts, days, nowMs }: { hosts: readonly string[]; days: number; nowMs: number },
  audit: AuditLog,
): Promise<number> {
  const { certificate, key } = await issueServerCertificate(authority, { hosts, days, nowMs });
  audit.append("key-used", { what: "certificate authority", for: "brokers", certificateHash: certificateHash(certificate) });
  // The certificate last: readers look at the pair once it is another one.
  writePemFile(paths.key, key, 0o600);
  writePemFile(paths.certificate, certificate, 0o644);
  return expiresAtMs(certificate);
}
