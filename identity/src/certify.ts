import "reflect-metadata";
import { type KeyObject, randomBytes } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  type Extension,
  type JsonName,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { PipelineError } from "@smile/errors/pipeline-error";
import { ECDSA, readKeyPem, webCryptoKey } from "./key-pair.ts";

/** A certificate and the secret key that belongs to it, both PEM. */
export type CertificateAndKey = { readonly certificate: string; readonly key: string };

/** Clocks of gateways are not exact: a certificate is in force a little before it was made. */
const CLOCK_SKEW_MS = 5 * 60_000;
const DAY_MS = 86_400_000;
/** A century: more is a typing error. */
const MOST_DAYS = 36_525;

/** How long a certificate is in force, from the time that it is made. */
export type Validity = { readonly days: number; readonly nowMs?: number | undefined };

/**
 * Makes a certificate.
 * @param subject of whom, as attributes in their order
 * @param publicKey the subject's
 * @param issuer who signs; its certificate is null where the certificate signs itself
 */
export async function certify(options: {
  readonly subject: JsonName;
  readonly publicKey: KeyObject;
  readonly validity: Validity;
  readonly extensions: readonly Extension[];
  readonly issuer: { readonly certificate: string | null; readonly key: string };
}): Promise<string> {
  const { subject, validity, extensions, issuer } = options;
  const { days, nowMs = Date.now() } = validity;
  if (!(days > 0 && days <= MOST_DAYS)) throw new PipelineError("CERTIFICATE_INVALID", `a certificate cannot last ${days} days`, { days });
  const publicKey = options.publicKey.export({ format: "der", type: "spki" });
  const signer = issuer.certificate === null ? undefined : new X509Certificate(issuer.certificate);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: signer?.subjectName ?? subject,
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(nowMs + days * DAY_MS),
    publicKey,
    signingKey: webCryptoKey(readKeyPem(issuer.key, "authority")),
    signingAlgorithm: ECDSA,
    extensions: [
      ...extensions,
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(signer ?? publicKey),
    ],
  });
  return `${certificate.toString("pem").trimEnd()}\n`;
}

/** 128 random bits (RFC 5280, 4.1.2.2, asks for a positive number of at most 20 bytes), behind a byte that keeps them positive. */
function serialNumber(): string {
  return `01${randomBytes(16).toString("hex")}`;
}
