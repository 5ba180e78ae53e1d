import { X509Certificate } from "node:crypto";

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, in their order. @throws {Error} for one that cannot be parsed */
export function certificatesOf(pem: string): X509Certificate[] {
  return Array.from(pem.matchAll(PEM_CERTIFICATE), ([text]) => new X509Certificate(text));
}

export function isInForce({ validFromDate, validToDate }: X509Certificate, nowMs: number): boolean {
  return validFromDate.getTime() <= nowMs && nowMs <= validToDate.getTime();
}
