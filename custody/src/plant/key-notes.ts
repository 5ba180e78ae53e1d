import type { DestroyedKey, Keystore, KeystoreKey } from "../keystore.ts";
import type { AuditNote } from "./open-plant.ts";

/** What tells one HE key of a plant from its others. */
export type KeyName = Pick<KeystoreKey, "keyEpoch" | "gateway" | "paramsId">;

export function isSameKey(a: KeyName, b: KeyName): boolean {
  return a.keyEpoch === b.keyEpoch && a.gateway === b.gateway && a.paramsId === b.paramsId;
}

/** What the audit log is told when one keystore takes the place of another: a line for each key made, activated, retired or destroyed. */
export function keyNotes(before: Pick<Keystore, "keys" | "destroyed">, after: Keystore): AuditNote[] {
  const stateBefore = (key: KeyName) => before.keys.find((each) => isSameKey(each, key))?.state;
  const made = after.keys.filter((key) => stateBefore(key) === undefined);
  const activated = after.keys.filter((key) => key.state === "active" && stateBefore(key) === "next");
  const retired = after.keys.filter((key) => key.state === "retiring" && !["retiring", undefined].includes(stateBefore(key)));
  const destroyed = after.destroyed.filter((key) => !before.destroyed.some((each) => isSameKey(each, key)));
  return [
    ...made.map((key) => ["key-made", { ...factsOf(key), paramsId: key.paramsId }] as const),
    ...activated.map((key) => ["key-activated", factsOf(key)] as const),
    ...retired.map((key) => ["key-retired", { ...factsOf(key), untilMs: key.untilMs! }] as const),
    ...destroyed.map((key) => ["key-destroyed", factsOf(key)] as const),
  ];
}

function factsOf({ keyEpoch, keyId, gateway }: DestroyedKey | KeystoreKey) {
  return { what: "HE key", keyEpoch, keyId, ...(gateway === null ? {} : { gateway }) };
}
