import type { X509Certificate } from "node:crypto";
import type { PlantRegister } from "@smile/schemas/plant-register";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import type { PlantRegistry } from "./plant-registry.ts";
import { certificatesOf, isInForce } from "./tls-certificates.ts";

/** RFC 5280, 4.2.1.12. */
const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";

/** Why nobody is known by a certificate. */
export type PeerRefusal =
  | "plant-unknown"
  | "certificate-not-in-force"
  | "certificate-not-for-clients"
  | "foreign-authority"
  | "not-registered";

/**
 * Whose certificate this is: its subject names the plant (O), that plant's own authority must have issued it directly, and that plant's
 * register must hold its hash. So what one plant's authority issues, or its register claims, never reaches another plant. That the peer
 * holds the certificate's key is for the TLS handshake to prove.
 */
export function identifyPeer(certificate: X509Certificate, registry: PlantRegistry, nowMs: number): PeerIdentity | PeerRefusal {
  const plant = registry.find(plantOf(certificate) ?? "");
  if (plant === undefined) return "plant-unknown";
  if (!isInForce(certificate, nowMs)) return "certificate-not-in-force";
  if (certificate.ca || !(certificate.keyUsage ?? []).includes(CLIENT_AUTHENTICATION)) return "certificate-not-for-clients";
  if (!authoritiesOf(plant.register).some((authority) => isInForce(authority, nowMs) && isIssuedBy(certificate, authority))) {
    return "foreign-authority";
  }
  const hash = certificate.fingerprint256.replaceAll(":", "").toLowerCase();
  return plant.peerAt(hash, nowMs) ?? "not-registered";
}

/** `toLegacyObject` would have the fields apart, but ends the process (Node 24.21) for a public key of an unknown kind. */
function plantOf({ subject }: X509Certificate): string | undefined {
  // A line for each attribute; what a value holds of line ends and the like is escaped.
  const plants = subject.split("\n").filter((line) => line.startsWith("O="));
  return plants.length === 1 ? plants[0]!.slice(2) : undefined;
}

export function isSamePeer(a: PeerIdentity, b: PeerIdentity): boolean {
  return a.plant === b.plant && a.role === b.role && a.name === b.name;
}

const parsed = new WeakMap<PlantRegister, readonly X509Certificate[]>();

/** None for a register whose authority cannot be read: that plant's peers stay out. */
function authoritiesOf(register: PlantRegister): readonly X509Certificate[] {
  let found = parsed.get(register);
  if (found === undefined) {
    try {
      found = certificatesOf(register.certificateAuthority ?? "");
    } catch {
      found = [];
    }
    parsed.set(register, found);
  }
  return found;
}

/** Of certificates in use: connections are looked at every minute, and there may be twenty thousand. */
const issuers = new WeakMap<X509Certificate, WeakMap<X509Certificate, boolean>>();

function isIssuedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  const known = issuers.get(certificate) ?? new WeakMap<X509Certificate, boolean>();
  issuers.set(certificate, known);
  const found = known.get(authority) ?? hasIssued(authority, certificate);
  known.set(authority, found);
  return found;
}

function hasIssued(authority: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
  } catch {
    return false; // a key of a kind that cannot have signed it
  }
}
