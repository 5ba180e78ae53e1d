import "reflect-metadata";
import { createPublicKey } from "node:crypto";
import { isIP } from "node:net";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
} from "@peculiar/x509";
import { PipelineError } from "@smile/errors/pipeline-error";
import { type CertificateAndKey, certify, type Validity } from "./certify.ts";
import { keyPem, newKey } from "./key-pair.ts";

/** RFC 1123, 2.1: labels of letters, digits and dashes. */
const HOST = /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;

/**
 * A certificate for a server, with a fresh key.
 * @param hosts names and IP addresses by which clients reach it; at least one
 * @throws {PipelineError} CERTIFICATE_INVALID naming a host that is none, or a broken authority
 */
export async function issueServerCertificate(
  authority: CertificateAndKey,
  { hosts, ...validity }: { readonly hosts: readonly string[] } & Validity,
): Promise<CertificateAndKey> {
  const wrong = hosts.find((host) => isIP(host) === 0 && !HOST.test(host));
  if (wrong !== undefined) throw new PipelineError("CERTIFICATE_INVALID", `${JSON.stringify(wrong)} is no host name and no IP address`);
  if (hosts.length === 0) throw new PipelineError("CERTIFICATE_INVALID", "a server's certificate needs at least one host");
  const key = newKey();
  const certificate = await certify({
    // Clients compare the alternative names only (RFC 9525, 6.3); the common name is for people, and holds 64 characters at most.
    subject: [{ CN: [hosts[0]!.slice(0, 64)] }],
    publicKey: createPublicKey(key),
    validity,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(hosts.map((host) => ({ type: isIP(host) === 0 ? "dns" : "ip", value: host }))),
    ],
    issuer: authority,
  });
  return { certificate, key: keyPem(key) };
}

/** The hosts that a server's certificate is for, in their order. @throws {PipelineError} CERTIFICATE_INVALID */
export function hostsOf(pem: string): string[] {
  try {
    const names = new X509Certificate(pem).getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
    return names.filter(({ type }) => type === "dns" || type === "ip").map(({ value }) => value);
  } catch (error) {
    throw new PipelineError("CERTIFICATE_INVALID", "this is no certificate in PEM form", {}, error);
  }
}
