import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { type Keystore, publicKeys } from "@smile/custody/keystore";
import { createAuthority } from "@smile/identity/authority";
import { certificateHash } from "@smile/identity/check-certificate";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import type { TlsMaterial } from "@smile/runtime/tls-files";
import type { Lease } from "@smile/schemas/documents";
import { publicHalf } from "@smile/schemas/ed25519";
import { deliveryCodec, gapCodec, scoreCodec } from "@smile/schemas/envelopes";
import { signRegister } from "@smile/schemas/plant-register";

/** What `smile plant` and `smile service` write into files, in memory and for this run only. */
export type Credentials = {
  readonly registry: FixedRegistry;
  readonly server: TlsMaterial;
  readonly console: TlsMaterial;
  readonly gateways: ReadonlyMap<string, { readonly signingKey: KeyObject; readonly tls: TlsMaterial }>;
  /** The model service's, and the half of it that the plant believes. */
  readonly scoreKeys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
};

const validity = { days: 1 };

/** An identity, an authority and certificates for a plant and its gateways, and the service's own. */
export async function makeCredentials(plant: string, leases: readonly Lease[], keystore: Keystore): Promise<Credentials> {
  const [serviceAuthority, plantAuthority] = await Promise.all([
    createAuthority({ name: "demo service", ...validity }),
    createAuthority({ name: plant, ...validity }),
  ]);
  const server = { ...(await issueServerCertificate(serviceAuthority, { hosts: ["127.0.0.1"], ...validity })) };
  const client = async (role: "gateway" | "console", name: string): Promise<TlsMaterial> => {
    const issued = await issueClientCertificate(plantAuthority, { plant, role, name, ...validity });
    return { ...issued, authority: serviceAuthority.certificate };
  };
  const console = await client("console", "console");
  const gateways = new Map(
    await Promise.all(
      leases.map(async ({ gateway }) => {
        const signingKey = generateKeyPairSync("ed25519").privateKey;
        return [gateway, { signingKey, tls: await client("gateway", gateway) }] as const;
      }),
    ),
  );
  const active = { state: "active", untilMs: null } as const;
  const register = signRegister(
    {
      kind: "plant-register",
      version: 1,
      plant,
      serial: 1,
      issuedAtMs: Date.now(),
      certificateAuthority: plantAuthority.certificate,
      reads: { score: [...scoreCodec.versions], gap: [...gapCodec.versions], delivery: [...deliveryCodec.versions] },
      consoles: [{ console: "console", certificateHash: certificateHash(console.certificate), ...active }],
      gateways: leases.map(({ gateway, firstLane, machines }) => {
        const { signingKey, tls } = gateways.get(gateway)!;
        return {
          gateway,
          lanes: { first: firstLane, count: machines.length },
          credentials: [{ signingKey: publicHalf(signingKey), certificateHash: certificateHash(tls.certificate), ...active }],
        };
      }),
      keys: publicKeys(keystore).map(({ gateway, paramsId, keyId, publicKey }) => {
        return { keyEpoch: 1, gateway, paramsId, keyId, publicKey, ...active };
      }),
    },
    generateKeyPairSync("ed25519").privateKey,
  );
  return { registry: new FixedRegistry([register]), server, console, gateways, scoreKeys: generateKeyPairSync("ed25519") };
}
