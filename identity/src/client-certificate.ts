import "reflect-metadata";
import { createPublicKey } from "node:crypto";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequestGenerator,
} from "@peculiar/x509";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import { type CertificateAndKey, certify, type Validity } from "./certify.ts";
import { ECDSA, keyPem, newKey, webCryptoKey } from "./key-pair.ts";

const usages = () => [
  new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
  new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]),
];
const subjectOf = ({ plant, role, name }: PeerIdentity): JsonName => [{ O: [plant] }, { OU: [role] }, { CN: [name] }];

/**
 * A certificate for a gateway or a console, with a fresh key. Its subject is O=plant, OU=role, CN=name.
 * @throws {PipelineError} CERTIFICATE_INVALID for a broken authority
 */
export async function issueClientCertificate(
  authority: CertificateAndKey,
  { plant, role, name, ...validity }: PeerIdentity & Validity,
): Promise<CertificateAndKey> {
  const key = newKey();
  const certificate = await certify({
    subject: subjectOf({ plant, role, name }),
    publicKey: createPublicKey(key),
    validity,
    extensions: [new BasicConstraintsExtension(false, undefined, true), ...usages()],
    issuer: authority,
  });
  return { certificate, key: keyPem(key) };
}

/** A request (PKCS #10, PEM) for such a certificate, to an authority that is not ours; and the fresh key that it is for. */
export async function createRequest(client: PeerIdentity): Promise<{ readonly request: string; readonly key: string }> {
  const key = newKey();
  const publicKey = createPublicKey(key).toCryptoKey(ECDSA, true, ["verify"]);
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: subjectOf(client),
    keys: { privateKey: webCryptoKey(key), publicKey },
    signingAlgorithm: ECDSA,
    extensions: usages(),
  });
  return { request: `${request.toString("pem").trimEnd()}\n`, key: keyPem(key) };
}
