import { deliveryCodec, gapCodec, scoreCodec } from "@smile/schemas/envelopes";
import type { Registration } from "@smile/schemas/plant-register";
import type { Keystore } from "../keystore.ts";
import { type Credential, leasedLanes, type PlantDocument } from "./plant-document.ts";

/**
 * What the service is told of a plant. The next key and the next credential are active here: the service must take what is made with
 * them before anybody makes it.
 */
export function registrationOf(document: PlantDocument, keystore: Keystore, issuedAtMs: number): Omit<Registration, "identity"> {
  const { plant, serial, certificateAuthority, consoles, gateways } = document;
  const seen = new Set<string>();
  return {
    kind: "plant-register",
    version: 1,
    plant,
    serial,
    issuedAtMs,
    certificateAuthority,
    reads: { score: [...scoreCodec.versions], gap: [...gapCodec.versions], delivery: [...deliveryCodec.versions] },
    consoles: consoles.flatMap(({ console, credentials }) =>
      credentials.flatMap(({ certificateHash, ...rest }) =>
        certificateHash === null ? [] : [{ console, certificateHash, ...standingOf(rest) }],
      ),
    ),
    gateways: gateways.map((entry) => ({
      gateway: entry.gateway,
      lanes: { first: entry.firstLane, count: leasedLanes(entry) },
      credentials: entry.credentials.map(({ signingKey, certificateHash, ...rest }) => ({
        signingKey,
        certificateHash,
        ...standingOf(rest),
      })),
    })),
    keys: document.keys
      // Newest first: keys of the scheme that does not encrypt are all the same one, which a register names once.
      .toSorted((a, b) => b.keyEpoch - a.keyEpoch)
      .filter(({ paramsId, keyId }) => !seen.has(`${paramsId} ${keyId}`) && seen.add(`${paramsId} ${keyId}`))
      .map(({ keyEpoch, gateway, paramsId, keyId, state, acceptedUntilMs }) => ({
        keyEpoch,
        gateway,
        paramsId,
        keyId,
        publicKey: keystore.keys.find((key) => key.keyId === keyId && key.paramsId === paramsId)!.publicKey,
        ...(state === "retiring" ? { state, untilMs: acceptedUntilMs } : active),
      })),
  };
}

/**
 * The keystore's keys as plant.json has them. A key that has just begun to retire is accepted for the first half of its retention: what
 * was sent under it in that time has the other half to come back and be opened.
 * @param known the keys as plant.json had them before: when acceptance ends is settled once
 */
export function keyEntries(keystore: Keystore, known: PlantDocument["keys"], nowMs: number): PlantDocument["keys"] {
  return keystore.keys.map(({ keyEpoch, gateway, paramsId, keyId, state, untilMs }) => {
    const before = known.find((key) => key.keyEpoch === keyEpoch && key.gateway === gateway && key.paramsId === paramsId);
    const half = untilMs === null ? null : Math.floor((nowMs + untilMs) / 2);
    const acceptedUntilMs = untilMs === null ? null : Math.min(before?.acceptedUntilMs ?? half!, untilMs);
    return { keyEpoch, gateway, paramsId, keyId, state, acceptedUntilMs, untilMs };
  });
}

const active = { state: "active" as const, untilMs: null };

function standingOf({ state, untilMs }: Pick<Credential, "state" | "untilMs">) {
  return state === "next" ? active : { state, untilMs };
}
