import { X509Certificate } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import { readKeyPem } from "./key-pair.ts";

const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * SHA-256 of a certificate's DER form, 64 hexadecimal digits: what registers hold.
 * @throws {PipelineError} CERTIFICATE_INVALID
 */
export function certificateHash(pem: string): string {
  return parse(pem).fingerprint256.replaceAll(":", "").toLowerCase();
}

/** The last moment at which a certificate is in force, in milliseconds since 1970. @throws {PipelineError} CERTIFICATE_INVALID */
export function expiresAtMs(pem: string): number {
  return parse(pem).validToDate.getTime();
}

/**
 * The certificates of a PEM text and nothing else of it: such files also hold comments, and sometimes a secret key.
 * @throws {PipelineError} CERTIFICATE_INVALID when one of them is none
 */
export function onlyCertificates(pem: string): string {
  return parseAll(pem)
    .map((each) => each.toString())
    .join("");
}

/**
 * Refuses text that is not one or more certificates that may issue others.
 * @param what names the file in the error
 * @throws {PipelineError} CERTIFICATE_INVALID
 */
export function checkAuthority(pem: string, what: string): void {
  const found = parseAll(pem);
  if (found.length === 0) throw new PipelineError("CERTIFICATE_INVALID", `${what} holds no certificate in PEM form`);
  const other = found.find(({ ca }) => !ca);
  if (other !== undefined) throw new PipelineError("CERTIFICATE_INVALID", `${what}: ${lineOf(other)} is no authority's certificate`);
}

/**
 * Refuses a certificate that is not this client's: not issued by the authority, not in force, for another subject or another use.
 * @param pem the client's certificate
 * @param expected.authority PEM of the certificates that may have issued it, one or more; the issuing one must be among them
 * @param expected.key PEM of the secret key that must belong to it; absent where it is not known
 * @throws {PipelineError} CERTIFICATE_INVALID
 */
export function checkCertificate(
  pem: string,
  expected: PeerIdentity & { readonly authority: string; readonly nowMs: number; readonly key?: string },
): void {
  const certificate = parse(pem);
  const { plant, role, name, authority, nowMs, key } = expected;
  const wrong = (why: string) =>
    new PipelineError("CERTIFICATE_INVALID", `the certificate of ${role} ${name}: ${why}`, { plant, role, name });
  const issuer = parseAll(authority).find((each) => each.ca && certificate.checkIssued(each) && certificate.verify(each.publicKey));
  if (issuer === undefined) throw wrong("was not issued by the plant's authority");
  for (const [each, whose] of [
    [certificate, ""],
    [issuer, "its authority's certificate "],
  ] as const) {
    if (nowMs < each.validFromDate.getTime()) throw wrong(`${whose}is in force only from ${each.validFromDate.toISOString()}`);
    if (nowMs > each.validToDate.getTime()) throw wrong(`${whose}ended on ${each.validToDate.toISOString()}`);
  }
  if (certificate.ca) throw wrong("is an authority's");
  // Not by toLegacyObject: for some public keys it ends the process.
  const subject = certificate.subject.split("\n");
  const hasOnly = (attribute: string, value: string) =>
    subject.filter((each) => each.startsWith(`${attribute}=`)).join() === `${attribute}=${value}`;
  if (!hasOnly("O", plant) || !hasOnly("OU", role) || !hasOnly("CN", name))
    throw wrong(`its subject must be O=${plant}, OU=${role}, CN=${name}`);
  if (!(certificate.keyUsage ?? []).includes(CLIENT_AUTHENTICATION)) throw wrong("is not for the authentication of clients");
  if (key !== undefined && !certificate.checkPrivateKey(readKeyPem(key, `${role} ${name}`))) throw wrong("belongs to another key");
}

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new PipelineError("CERTIFICATE_INVALID", "this is no certificate in PEM form", {}, error);
  }
}

function parseAll(pem: string): X509Certificate[] {
  return Array.from(pem.matchAll(PEM_CERTIFICATE), ([text]) => parse(text));
}

function lineOf({ subject }: X509Certificate): string {
  return subject.replaceAll("\n", ", ");
}
