import type { KeyObject } from "node:crypto";
import { verifyingKey } from "./ed25519.ts";
import type { PlantRegister, Standing } from "./plant-register.ts";

/** A key or a certificate. The register may name it in several credentials, as when its other half was renewed: all standings count. */
type Holding<T> = { readonly of: T; readonly standings: Standing[] };

/**
 * Most keys of a gateway whose signatures count at one time. Each costs a verification for every signature that is none of theirs: by a
 * register with a hundred, a gateway could make forgeries a hundred times as dear.
 */
export const MOST_SIGNERS = 8;

/** Who a certificate belongs to. */
export type PeerIdentity = { readonly plant: string; readonly role: "gateway" | "console"; readonly name: string };

/** Global lanes that a gateway may fill. */
export type Lanes = PlantRegister["gateways"][number]["lanes"];

/** A public key under which a plant's windows are encrypted. */
export type RegisteredKey = PlantRegister["keys"][number];

/** A gateway's key, parsed when it is needed first: of a large register, few ever are. */
class SigningKey {
  readonly #base64: string;
  #key: KeyObject | undefined;

  constructor(base64: string) {
    this.#base64 = base64;
  }

  get key(): KeyObject {
    this.#key ??= verifyingKey(this.#base64);
    return this.#key;
  }
}

/** A plant's register, ready for use: keys parsed once, found by name. Times are in milliseconds since 1970. */
export class RegisteredPlant {
  readonly register: PlantRegister;
  readonly #gateways = new Map<string, { readonly lanes: Lanes; readonly signers: ReadonlyMap<string, Holding<SigningKey>> }>();
  readonly #peers = new Map<string, Holding<PeerIdentity>>();
  readonly #keys: ReadonlyMap<string, RegisteredKey>;

  /** @param register as `openRegister` or `signRegister` gave it */
  constructor(register: PlantRegister) {
    const { plant } = register;
    this.register = register;
    for (const { gateway, lanes, credentials } of register.gateways) {
      const signers = new Map<string, Holding<SigningKey>>();
      for (const { signingKey, certificateHash, ...standing } of credentials) {
        add(signers, signingKey, () => new SigningKey(signingKey), standing);
        if (certificateHash !== null) add(this.#peers, certificateHash, () => ({ plant, role: "gateway", name: gateway }), standing);
      }
      this.#gateways.set(gateway, { lanes, signers });
    }
    for (const { console, certificateHash, ...standing } of register.consoles) {
      add(this.#peers, certificateHash, () => ({ plant, role: "console", name: console }), standing);
    }
    this.#keys = new Map(register.keys.map((key) => [`${key.paramsId} ${key.keyId}`, key]));
  }

  get plant(): string {
    return this.register.plant;
  }

  /** Lanes that a gateway may fill; undefined for one that is not registered. */
  lanesOf(gateway: string): Lanes | undefined {
    return this.#gateways.get(gateway)?.lanes;
  }

  /** Keys whose signatures of a gateway count at this time, the last `MOST_SIGNERS` of them; empty for one that is unknown or revoked. */
  signersAt(gateway: string, nowMs: number): readonly KeyObject[] {
    return this.#signers(gateway, (standings) => isUsable(standings, nowMs), MOST_SIGNERS);
  }

  /** Keys whose signatures a plant still believes on what the service took earlier: all that are not revoked. */
  signersEver(gateway: string): readonly KeyObject[] {
    return this.#signers(gateway, (standings) => !isRevoked(standings));
  }

  /** Keys of a gateway that were revoked: what they signed is its, and not believed. */
  signersRevoked(gateway: string): readonly KeyObject[] {
    return this.#signers(gateway, isRevoked);
  }

  /** Who a certificate belongs to at this time; undefined for a stranger, or one who is not let in any more. */
  peerAt(certificateHash: string, nowMs: number): PeerIdentity | undefined {
    const known = this.#peers.get(certificateHash);
    return known !== undefined && isUsable(known.standings, nowMs) ? known.of : undefined;
  }

  /** The key under which windows may be encrypted at this time. */
  keyAt(paramsId: string, keyId: string, nowMs: number): RegisteredKey | undefined {
    const key = this.#keys.get(`${paramsId} ${keyId}`);
    return key !== undefined && isUsable([key], nowMs) ? key : undefined;
  }

  /** The key whatever its standing short of being revoked or gone: what was taken under it is still scored. */
  keyEver(paramsId: string, keyId: string): RegisteredKey | undefined {
    const key = this.#keys.get(`${paramsId} ${keyId}`);
    return key !== undefined && !isRevoked([key]) ? key : undefined;
  }

  #signers(gateway: string, counts: (standings: readonly Standing[]) => boolean, most = Number.POSITIVE_INFINITY): readonly KeyObject[] {
    const signers = this.#gateways.get(gateway)?.signers.values() ?? [];
    const counting = [...signers].filter(({ standings }) => counts(standings));
    return counting.slice(-most).map((signer) => signer.of.key);
  }
}

function add<T>(holdings: Map<string, Holding<T>>, id: string, make: () => T, standing: Standing): void {
  const known = holdings.get(id);
  if (known === undefined) holdings.set(id, { of: make(), standings: [standing] });
  else known.standings.push(standing);
}

/** Revoked once is revoked everywhere. */
function isRevoked(standings: readonly Standing[]): boolean {
  return standings.some(({ state }) => state === "revoked");
}

function isUsable(standings: readonly Standing[], nowMs: number): boolean {
  const usable = ({ state, untilMs }: Standing) => state === "active" || (state === "retiring" && untilMs !== null && nowMs < untilMs);
  return !isRevoked(standings) && standings.some(usable);
}
