import type { KeyObject } from "node:crypto";
import { verifyingKey } from "./ed25519.ts";
import type { PlantRegister } from "./plant-register.ts";

type Standing = { readonly state: "active" | "retiring" | "revoked"; readonly untilMs: number | null };

/** Who a certificate belongs to. */
export type PeerIdentity = { readonly plant: string; readonly role: "gateway" | "console"; readonly name: string };

/** A plant's register, ready for use: keys parsed once, found by name. */
export class RegisteredPlant {
  readonly register: PlantRegister;
  readonly #gateways = new Map<string, { readonly lanes: Lanes; readonly keys: readonly (Standing & { readonly key: KeyObject })[] }>();
  readonly #peers = new Map<string, Standing & { readonly peer: PeerIdentity }>();
  readonly #keys: ReadonlyMap<string, PlantRegister["keys"][number]>;

  /** @param register as `openRegister` or `signRegister` gave it */
  constructor(register: PlantRegister) {
    const { plant } = register;
    this.register = register;
    for (const { gateway, lanes, credentials } of register.gateways) {
      const keys = credentials.map(({ signingKey, state, untilMs }) => ({ key: verifyingKey(signingKey), state, untilMs }));
      this.#gateways.set(gateway, { lanes, keys });
      for (const { certificateHash, state, untilMs } of credentials) {
        if (certificateHash !== null) this.#peers.set(certificateHash, { peer: { plant, role: "gateway", name: gateway }, state, untilMs });
      }
    }
    for (const { console, certificateHash, state, untilMs } of register.consoles) {
      this.#peers.set(certificateHash, { peer: { plant, role: "console", name: console }, state, untilMs });
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
    return (this.#gateways.get(gateway)?.keys ?? []).filter((key) => isUsable(key, nowMs)).map(({ key }) => key);
  }

  /** Keys whose signatures a plant still believes on what the service took earlier: all that are not revoked. */
  signersEver(gateway: string): readonly KeyObject[] {
    return (this.#gateways.get(gateway)?.keys ?? []).filter(({ state }) => state !== "revoked").map(({ key }) => key);
  }

  /** Who a certificate belongs to at this time; undefined for a stranger, or one who is not let in any more. */
  peerAt(certificateHash: string, nowMs: number): PeerIdentity | undefined {
    const known = this.#peers.get(certificateHash);
    return known !== undefined && isUsable(known, nowMs) ? known.peer : undefined;
  }

  /** The key under which windows may be encrypted at this time. */
  keyAt(paramsId: string, keyId: string, nowMs: number): PlantRegister["keys"][number] | undefined {
    const key = this.#keys.get(`${paramsId} ${keyId}`);
    return key !== undefined && isUsable(key, nowMs) ? key : undefined;
  }

  /** The key whatever its standing short of being revoked or gone: what was taken under it is still scored. */
  keyEver(paramsId: string, keyId: string): PlantRegister["keys"][number] | undefined {
    const key = this.#keys.get(`${paramsId} ${keyId}`);
    return key?.state === "revoked" ? undefined : key;
  }
}

export type Lanes = PlantRegister["gateways"][number]["lanes"];

function isUsable({ state, untilMs }: Standing, nowMs: number): boolean {
  return state === "active" || (state === "retiring" && untilMs !== null && nowMs < untilMs);
}
