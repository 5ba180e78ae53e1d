import { hash } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import type { CiphertextKind } from "@smile/schemas/envelopes";
import { expect, it } from "vitest";
import { type FixtureKey, fixturePlant } from "../../schemas/test/fixture-register.ts";
import { RegisteredKeys } from "../src/registered-keys.ts";

const params = "a".repeat(64);
/** A key for the registry: that it is none of SEAL's is the workers' business. */
function key(n: number): FixtureKey {
  const publicKey = new Uint8Array(40).fill(n);
  publicKey[39] = n >>> 8;
  return { paramsId: params, keyId: hash("sha256", publicKey), publicKey };
}
const kindOf = ({ paramsId, keyId }: FixtureKey, plant = "acme"): CiphertextKind => ({
  ...{ plant, scheme: "bgv", keyMode: "public", paramsId, keyId },
  featureSetId: "b".repeat(64),
});

function codeOf(run: () => unknown): string {
  try {
    run();
    return "none";
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return error.code;
  }
}

it("are found by plant, parameters and the hash of their bytes, from the second time on in memory that workers share", () => {
  const one = key(1);
  using registry = new FixedRegistry([fixturePlant({ plant: "acme", gateways: [], keys: [one] }).register]);
  const keys = new RegisteredKeys(registry);
  expect(keys.find(kindOf(one)).publicKey).toEqual(one.publicKey);
  const found = keys.find(kindOf(one));
  expect([found.keyId, Buffer.from(found.publicKey)]).toEqual([one.keyId, Buffer.from(one.publicKey)]);
  expect(found.publicKey.buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(keys.find(kindOf(one))).toBe(found);
  for (const other of [{ plant: "other" }, { paramsId: "c".repeat(64) }, { keyId: "c".repeat(64) }])
    expect(codeOf(() => keys.find({ ...kindOf(one), ...other }))).toBe("KEY_UNKNOWN");
});

it("follow the register: a new key is looked for once, a retiring one stays, a revoked or destroyed one is gone", () => {
  const [old, fresh] = [key(1), key(2)];
  const acme = fixturePlant({ plant: "acme", gateways: [], keys: [old] });
  const registered = acme.register.keys[0]!;
  const added = { ...registered, keyEpoch: 2, keyId: fresh.keyId, publicKey: Buffer.from(fresh.publicKey).toString("base64") };
  const rotated = acme.next({ keys: [{ ...registered, state: "retiring", untilMs: 1 }, added] });
  const revoked = acme.next({ keys: [{ ...registered, state: "revoked" }, added] });
  const destroyed = acme.next({ keys: [added] });
  let looks = 0;
  let lying = [rotated];
  using registry = new (class extends FixedRegistry {
    override refresh(plant: string) {
      looks += 1;
      for (const register of lying) this.replace(register);
      lying = [];
      return this.find(plant);
    }
  })([acme.register]);
  const keys = new RegisteredKeys(registry);
  keys.find(kindOf(old));
  expect(looks).toBe(0);
  expect(keys.find(kindOf(fresh)).keyId).toBe(fresh.keyId);
  expect([looks, keys.find(kindOf(old)).keyId]).toEqual([1, old.keyId]);
  for (const register of [revoked, destroyed]) {
    registry.replace(register);
    expect(codeOf(() => keys.find(kindOf(old)))).toBe("KEY_UNKNOWN");
    expect(keys.find(kindOf(fresh)).keyId).toBe(fresh.keyId);
  }
});

it("keep copies of the keys in use only", () => {
  const all = Array.from({ length: 300 }, (_, n) => key(n));
  using registry = new FixedRegistry([fixturePlant({ plant: "acme", gateways: [], keys: all }).register]);
  const keys = new RegisteredKeys(registry);
  keys.find(kindOf(all[0]!));
  const used = keys.find(kindOf(all[0]!));
  const forgotten = keys.find(kindOf(all[1]!));
  for (const each of all) {
    keys.find(kindOf(each));
    expect(keys.find(kindOf(all[0]!))).toBe(used);
  }
  expect(keys.find(kindOf(all[1]!))).not.toBe(forgotten);
});
