import { isPipelineError } from "@smile/errors/pipeline-error";
import { type Params, paramsId } from "@smile/he/params";
import { plan } from "@smile/he/planner";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  activateEpoch,
  addEpoch,
  addGatewayKey,
  createKeystore,
  destroyExpired,
  type Keystore,
  KeystoreDocument,
  retireKeys,
} from "../src/keystore.ts";
import { codeOf } from "./code-of.ts";

const planned = (bias: number): Params =>
  plan({
    scheme: "identity",
    featureCount: 4,
    featureBits: 8,
    heads: [{ weights: [[1, 2, 3, 4]], bias: [bias] }],
    keyMode: "symmetric",
    maxMerges: 1,
    modelPrivacy: "compact",
  }).params;
const PARAMS = [planned(0), planned(100_000)] as const;
const GATEWAYS = ["a", "b", "c"] as const;
const START = 1000;

type Step =
  | { readonly kind: "add"; readonly params: Params; readonly gateways: readonly string[] }
  | { readonly kind: "join"; readonly params: Params; readonly gateway: string }
  | { readonly kind: "activate"; readonly retainMs: number }
  | { readonly kind: "leave"; readonly gateway: string; readonly retainMs: number }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "destroy" };
const params = fc.constantFrom(...PARAMS);
const gateway = fc.constantFrom(...GATEWAYS);
const retainMs = fc.nat(60);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("add" as const), params, gateways: fc.subarray([...GATEWAYS], { minLength: 1 }) }),
  fc.record({ kind: fc.constant("join" as const), params, gateway }),
  fc.record({ kind: fc.constant("activate" as const), retainMs }),
  fc.record({ kind: fc.constant("leave" as const), gateway, retainMs }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(40) }),
  fc.record({ kind: fc.constant("destroy" as const) }),
);

async function take(keystore: Keystore, step: Step, nowMs: number): Promise<Keystore> {
  switch (step.kind) {
    case "add":
      return addEpoch(keystore, step.params, "symmetric", step.gateways, nowMs);
    case "join":
      return addGatewayKey(keystore, step.params, step.gateway, nowMs);
    case "activate":
      return activateEpoch(keystore, { retainMs: step.retainMs, nowMs });
    case "leave":
      return retireKeys(keystore, (key) => key.gateway === step.gateway, { retainMs: step.retainMs, nowMs });
    case "destroy":
      return destroyExpired(keystore, nowMs).keystore;
    case "wait":
      return keystore;
  }
}

type Named = Pick<Keystore["destroyed"][number], "keyEpoch" | "gateway" | "paramsId">;
const ownerOf = ({ gateway, paramsId }: Named) => `${gateway} ${paramsId}`;
const nameOf = (key: Named) => `${key.keyEpoch} ${ownerOf(key)}`;
const namesOf = (keys: readonly Named[]) => keys.map(nameOf);

describe("key epochs", () => {
  it("one active key per owner and parameters, no key lost before its time, none that comes back, in any order of steps", async () => {
    const kinds = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        let nowMs = START;
        let keystore = await createKeystore("plant-1", PARAMS[0], "symmetric", ["a", "b"], nowMs);
        const born = new Map(keystore.keys.map((key) => [nameOf(key), key.createdAtMs]));
        for (const step of steps) {
          if (step.kind === "wait") nowMs += step.ms;
          const before = keystore;
          const frozen = JSON.stringify(before);
          try {
            keystore = await take(before, step, nowMs);
            kinds.add(step.kind);
          } catch (error) {
            if (!isPipelineError(error, "CONFIG_INVALID")) throw error;
            kinds.add(`${step.kind} refused`);
          }
          expect(JSON.stringify(before), "no function changes what it is given").toBe(frozen);
          expect(KeystoreDocument.safeParse(keystore).error).toBeUndefined();

          for (const state of ["active", "next"]) {
            const owners = keystore.keys.filter((key) => key.state === state).map(ownerOf);
            expect(new Set(owners).size, `one ${state} key per owner and parameters`).toBe(owners.length);
          }
          const [here, gone] = [namesOf(keystore.keys), namesOf(keystore.destroyed)];
          expect(new Set([...here, ...gone]).size, "each name is one key's").toBe(here.length + gone.length);
          expect(gone.slice(0, before.destroyed.length), "what is destroyed stays destroyed").toEqual(namesOf(before.destroyed));
          for (const key of keystore.keys) {
            expect(born.get(nameOf(key)) ?? nowMs, "no name is given to a second key").toBe(key.createdAtMs);
            born.set(nameOf(key), key.createdAtMs);
          }
          for (const key of before.keys) {
            const isExpired = key.state === "retiring" && key.untilMs! <= nowMs;
            if (!isExpired) expect(here, "no key goes before its time").toContain(nameOf(key));
            else if (step.kind === "destroy") expect(gone).toContain(nameOf(key));
          }
          expect([...born.keys()].sort()).toEqual([...here, ...gone].sort());
          if (step.kind === "leave") {
            const left = keystore.keys.filter((key) => key.gateway === step.gateway);
            expect(
              left.filter(({ state }) => state !== "retiring"),
              "nor does a waiting key of it become active later",
            ).toEqual([]);
          } else {
            const active = new Set(keystore.keys.filter(({ state }) => state === "active").map(ownerOf));
            for (const key of before.keys.filter(({ state }) => state === "active")) expect(active).toContain(ownerOf(key));
          }
        }
      }),
      { numRuns: 150, seed: 43 },
    );
    expect([...kinds].sort()).toEqual(
      ["activate", "activate refused", "add", "add refused", "destroy", "join", "join refused", "leave", "wait"].sort(),
    );
  });

  it("a rotation: the next key waits, becomes active, and the old one opens scores to the last millisecond of its retention", async () => {
    const first = await createKeystore("plant-1", PARAMS[0], "public", [], START);
    const statesOf = ({ keys }: Keystore) => keys.map(({ keyEpoch, state, untilMs }) => [keyEpoch, state, untilMs]);
    const both = await addEpoch(first, PARAMS[0], "public", [], START + 1);
    expect(statesOf(both)).toEqual([
      [1, "active", null],
      [2, "next", null],
    ]);
    expect(await codeOf(() => addEpoch(both, PARAMS[0], "public", [], START + 1))).toBe("CONFIG_INVALID");
    const rotated = activateEpoch(both, { retainMs: 100, nowMs: START + 2 });
    expect(statesOf(rotated)).toEqual([
      [1, "retiring", START + 102],
      [2, "active", null],
    ]);
    expect(await codeOf(() => activateEpoch(rotated, { retainMs: 100, nowMs: START + 3 }))).toBe("CONFIG_INVALID");
    expect(destroyExpired(rotated, START + 101)).toEqual({ keystore: rotated, destroyed: [] });
    const { keystore, destroyed } = destroyExpired(rotated, START + 102);
    expect(statesOf(keystore)).toEqual([[2, "active", null]]);
    expect(destroyed).toMatchObject([{ keyEpoch: 1, gateway: null, paramsId: paramsId(PARAMS[0]), destroyedAtMs: START + 102 }]);
    expect(destroyExpired(keystore, START + 999).destroyed).toEqual([]);
    expect((await addEpoch(keystore, PARAMS[0], "public", [], START + 103)).keys.at(-1)!.keyEpoch).toBe(3);
  });

  it("a number is never given again, not even when the key that had the highest one is destroyed", async () => {
    const first = await createKeystore("plant-1", PARAMS[0], "symmetric", ["a"], START);
    const joined = await addGatewayKey(first, PARAMS[0], "b", START);
    const left = retireKeys(joined, ({ gateway }) => gateway === "b", { retainMs: 0, nowMs: START });
    const { keystore } = destroyExpired(left, START);
    const again = await addGatewayKey(keystore, PARAMS[0], "b", START + 1);
    expect(again.keys.map(({ gateway, keyEpoch, state }) => [gateway, keyEpoch, state])).toEqual([
      ["a", 1, "active"],
      ["b", 3, "active"],
    ]);
    expect(again.destroyed.map(({ gateway, keyEpoch }) => [gateway, keyEpoch])).toEqual([["b", 2]]);
  });

  it("keys of other parameters are not touched by a rotation, and a retention that is no time is refused", async () => {
    const first = await createKeystore("plant-1", PARAMS[0], "public", [], START);
    const moved = activateEpoch(await addEpoch(first, PARAMS[1], "public", [], START), { retainMs: 100, nowMs: START });
    expect(moved.keys.map(({ state }) => state)).toEqual(["active", "active"]);
    const old = retireKeys(moved, (key) => key.paramsId === paramsId(PARAMS[0]), { retainMs: 100, nowMs: START });
    expect(old.keys.map(({ state }) => state)).toEqual(["retiring", "active"]);
    for (const retainMs of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(await codeOf(() => retireKeys(moved, () => true, { retainMs, nowMs: START }))).toBe("CONFIG_INVALID");
  });
});
