import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { publicHalf } from "../src/ed25519.ts";
import { type PlantRegister, type Registration, signRegister } from "../src/plant-register.ts";

/** A plant's register for tests, with the secrets behind it. */
export type FixturePlant = {
  readonly identity: KeyObject;
  readonly register: PlantRegister;
  /** By gateway. */
  readonly signingKeys: ReadonlyMap<string, KeyObject>;
  /** The register with changes, signed anew under the next serial. */
  readonly next: (changes: Partial<Registration>) => PlantRegister;
};

export type FixtureKey = {
  readonly paramsId: string;
  readonly keyId: string;
  readonly publicKey: Uint8Array;
  readonly gateway?: string | null;
};

/**
 * @param gateways name and lanes of each; by default a thousand lanes each, one behind the other
 * @param keys that windows may be encrypted under
 */
export function fixturePlant(options: {
  plant: string;
  gateways: readonly { readonly gateway: string; readonly lanes?: { readonly first: number; readonly count: number } }[];
  keys?: readonly FixtureKey[];
}): FixturePlant {
  const identity = generateKeyPairSync("ed25519").privateKey;
  const signingKeys = new Map(options.gateways.map(({ gateway }) => [gateway, generateKeyPairSync("ed25519").privateKey]));
  const active = { state: "active" as const, untilMs: null };
  let registration: Omit<Registration, "identity"> = {
    kind: "plant-register",
    version: 1,
    plant: options.plant,
    serial: 1,
    issuedAtMs: 1_790_000_000_000,
    certificateAuthority: null,
    reads: { score: [1, 2], gap: [1], delivery: [1] },
    consoles: [],
    gateways: options.gateways.map(({ gateway, lanes }, i) => ({
      gateway,
      lanes: lanes ?? { first: 1000 * i, count: 1000 },
      credentials: [{ signingKey: publicHalf(signingKeys.get(gateway)!), certificateHash: null, ...active }],
    })),
    keys: (options.keys ?? []).map(({ paramsId, keyId, publicKey, gateway = null }) => ({
      keyEpoch: 1,
      gateway,
      paramsId,
      keyId,
      publicKey: Buffer.from(publicKey).toString("base64"),
      ...active,
    })),
  };
  return {
    identity,
    register: signRegister(registration, identity),
    signingKeys,
    next: (changes) => {
      registration = { ...registration, serial: registration.serial + 1, ...changes };
      return signRegister(registration, identity);
    },
  };
}
