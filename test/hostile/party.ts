import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { generateKeyPair, keyIdOf } from "@smile/custody/keys";
import { createKeystore, type Keystore } from "@smile/custody/keystore";
import type { Params } from "@smile/he/params";
import { paramsId } from "@smile/he/params";
import { createAuthority } from "@smile/identity/authority";
import type { CertificateAndKey } from "@smile/identity/certify";
import { certificateHash } from "@smile/identity/check-certificate";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import type { TlsMaterial } from "@smile/runtime/tls-files";
import type { Lease } from "@smile/schemas/documents";
import { publicHalf } from "@smile/schemas/ed25519";
import { identityHash, type PlantRegister, type Registration, signRegister } from "@smile/schemas/plant-register";

/** Global lanes of each gateway: two gateways of a plant share a ciphertext. */
export const LANES_PER_GATEWAY = 8;
const YEAR = { days: 365 };

/** A credential of a gateway: what it signs with, and what it shows to brokers. */
export type Credential = { readonly signingKey: KeyObject; readonly tls: TlsMaterial };
export type Gateway = Credential & {
  readonly name: string;
  readonly firstLane: number;
  /** Its former one, revoked. */
  readonly revoked: Credential;
};

/** A plant with all its secrets: it is the harness that plays it, and whoever has stolen something from it. */
export type Party = {
  readonly plant: string;
  readonly identity: KeyObject;
  readonly identityHash: string;
  readonly authority: CertificateAndKey;
  readonly gateways: readonly Gateway[];
  readonly console: TlsMaterial;
  readonly keystore: Keystore;
  /** The active key; one that has retired; one that was revoked. All three are in the register. */
  readonly keyIds: { readonly active: string; readonly retired: string; readonly revoked: string };
  readonly registration: Omit<Registration, "identity">;
  readonly register: PlantRegister;
  readonly leases: readonly Lease[];
};

/**
 * @param operatorAuthority who issued the brokers' certificates
 * @param gatewayNames one behind the other in the plant's lanes
 */
export async function foundParty(
  plant: string,
  gatewayNames: readonly string[],
  params: Params,
  operatorAuthority: string,
): Promise<Party> {
  const identity = generateKeyPairSync("ed25519").privateKey;
  const authority = await createAuthority({ name: `${plant} authority`, ...YEAR });
  const credential = async (role: "gateway" | "console", name: string): Promise<Credential> => ({
    signingKey: generateKeyPairSync("ed25519").privateKey,
    tls: { ...(await issueClientCertificate(authority, { plant, role, name, ...YEAR })), authority: operatorAuthority },
  });
  const gateways: Gateway[] = [];
  for (const [i, name] of gatewayNames.entries()) {
    const revoked = await credential("gateway", name);
    gateways.push({ ...(await credential("gateway", name)), name, firstLane: i * LANES_PER_GATEWAY, revoked });
  }
  const { tls } = await credential("console", "desk");
  const keystore = await createKeystore(plant, params, "public", [], Date.now());
  const [active] = keystore.keys;
  const others = [await generateKeyPair(params), await generateKeyPair(params)].map(({ publicKey }) => publicKey);
  const inForce = { state: "active" as const, untilMs: null };
  const revoked = { state: "revoked" as const, untilMs: null };
  const retired = { state: "retiring" as const, untilMs: Date.now() - 1000 };
  const credentialEntry = ({ signingKey, tls: { certificate } }: Credential, standing: typeof inForce | typeof revoked) => {
    return { signingKey: publicHalf(signingKey), certificateHash: certificateHash(certificate), ...standing };
  };
  const keyEntry = (keyEpoch: number, publicKey: Uint8Array, standing: typeof inForce | typeof revoked | typeof retired) => ({
    keyEpoch,
    gateway: null,
    paramsId: paramsId(params),
    keyId: keyIdOf(publicKey),
    publicKey: Buffer.from(publicKey).toString("base64"),
    ...standing,
  });
  const keys = [
    keyEntry(3, Buffer.from(active!.publicKey, "base64"), inForce),
    keyEntry(2, others[0]!, retired),
    keyEntry(1, others[1]!, revoked),
  ];
  const registration: Omit<Registration, "identity"> = {
    kind: "plant-register",
    version: 1,
    plant,
    serial: 7,
    issuedAtMs: Date.now(),
    certificateAuthority: authority.certificate,
    reads: { score: [2], gap: [1], delivery: [1] },
    consoles: [{ console: "desk", certificateHash: certificateHash(tls.certificate), ...inForce }],
    gateways: gateways.map((gateway) => ({
      gateway: gateway.name,
      lanes: { first: gateway.firstLane, count: LANES_PER_GATEWAY },
      credentials: [credentialEntry(gateway, inForce), credentialEntry(gateway.revoked, revoked)],
    })),
    keys,
  };
  const register = signRegister(registration, identity);
  return {
    plant,
    identity,
    identityHash: identityHash(register.identity),
    authority,
    gateways,
    console: tls,
    keystore,
    keyIds: { active: keys[0]!.keyId, retired: keys[1]!.keyId, revoked: keys[2]!.keyId },
    registration,
    register,
    leases: gateways.map(({ name, firstLane }) => ({
      gateway: name,
      firstLane,
      machines: Array.from({ length: LANES_PER_GATEWAY }, (_, i) => `${name}-machine-${i}`),
    })),
  };
}
