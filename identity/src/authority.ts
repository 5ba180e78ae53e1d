import "reflect-metadata";
import { createPublicKey } from "node:crypto";
import { BasicConstraintsExtension, KeyUsageFlags, KeyUsagesExtension } from "@peculiar/x509";
import { type CertificateAndKey, certify, type Validity } from "./certify.ts";
import { keyPem, newKey } from "./key-pair.ts";

/**
 * A new authority: a certificate that signs itself and may sign others, but none that may sign further ones.
 * @param name common name, for people
 */
export async function createAuthority({ name, ...validity }: { readonly name: string } & Validity): Promise<CertificateAndKey> {
  const key = newKey();
  const certificate = await certify({
    subject: [{ CN: [name] }],
    publicKey: createPublicKey(key),
    validity,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
    issuer: { certificate: null, key: keyPem(key) },
  });
  return { certificate, key: keyPem(key) };
}
