import type { KeyObject } from "node:crypto";
import { verifyingKey } from "./ed25519.ts";
import type { PlantRegister, Standing } from "./plant-register.ts";

/** A key or a certificate. The register may name it in several credentials, as when its other half was renewed: all standings count. */
type Holding<T> = { readonly of: T; readonly standings: Standing[] };

/** Who a certificate belongs to. */
export type PeerIdentity = { readonly plant: string; readonly role: "gateway" | "console"; readonly name: string };

/** Global lanes that a gateway may fill. */
export type Lanes = PlantRegister["gateways"][number]["lanes"];

/** A public key under which a plant's windows are encrypted. */
export type RegisteredKey = PlantRegister["keys"][number];

/** A plant's register, ready for use: keys parsed once, found by name. Times are in milliseconds since 1970. */
export class RegisteredPlant {
  readonly register: PlantRegister;
  readonly #gateways = new Map<string, { readonly lanes: Lanes; readonly signers: ReadonlyMap<string, Holding<KeyObject>> }>();
  readonly #peers = new Map<string, Holding<PeerIdentity>>();
  readonly #keys: ReadonlyMap<string, RegisteredKey>;

  /** @param register as `openRegister` or `signRegister` gave it */
  constructor(register: PlantRegister) {
    const { plant } = register;
    this.register = register;
    for (const { gateway, lanes, credentials } of register.gateways) {
      const signers = new Map<string, Holding<KeyObject>>();
      for (const { signingKey, certificateHash, ...standing } of credentials) {
        add(signers, signingKey, () => verifyingKey(signingKey), standing);
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

  /** Keys whose signatures of a gateway count at this time; empty for one that is unknown or revoked. */
  signersAt(gateway: string, nowMs: number): readonly KeyObject[] {
    return this.#signers(gateway, (standings) => isUsable(standings, nowMs));
  }

  /** Keys whose signatures a plant still believes on what the service took earlier: all that are not revoked. */
  signersEver(gateway: string): readonly KeyObject[] {
    return this.#signers(gateway, (standings) => !isRevoked(standings));
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

  #signers(gateway: string, counts: (standings: readonly Standing[]) => boolean): readonly KeyObject[] {
    const signers = this.#gateways.get(gateway)?.signers.values() ?? [];
    return [...signers].filter(({ standings }) => counts(standings)).map((signer) => signer.of);
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
