import { generateKeyPairSync, hash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { publicHalf } from "../src/ed25519.ts";
import type { Registration, Standing } from "../src/plant-register.ts";
import { MOST_SIGNERS, RegisteredPlant } from "../src/registered-plant.ts";
import { fixturePlant } from "./fixture-register.ts";

const until = 1_790_000_500_000;
const ACTIVE: Standing = { state: "active", untilMs: null };
const RETIRING: Standing = { state: "retiring", untilMs: until };
const REVOKED: Standing = { state: "revoked", untilMs: null };
const certificate = (name: string) => hash("sha256", name);

const newKey = () => publicHalf(generateKeyPairSync("ed25519").publicKey);
type Credential = Registration["gateways"][number]["credentials"][number];
const credential = (signingKey: string, of: string | null, standing: Standing): Credential => ({
  signingKey,
  certificateHash: of === null ? null : certificate(of),
  ...standing,
});

/** The plant of a register whose gateway g1 has these credentials, and g2 none. */
function plantWith(credentials: readonly Credential[], changes: Partial<Registration> = {}): RegisteredPlant {
  const gateways = [
    { gateway: "g1", lanes: { first: 0, count: 8 }, credentials: [...credentials] },
    { gateway: "g2", lanes: { first: 8, count: 8 }, credentials: [] },
  ];
  return new RegisteredPlant(fixturePlant({ plant: "plant-1", gateways: [] }).next({ gateways, ...changes }));
}
const signersAt = (plant: RegisteredPlant, atMs: number) => plant.signersAt("g1", atMs).map(publicHalf);
const signersEver = (plant: RegisteredPlant) => plant.signersEver("g1").map(publicHalf);

describe("a registered plant", () => {
  it("knows the lanes of its gateways, and nothing of strangers", () => {
    const plant = plantWith([credential(newKey(), "g1", ACTIVE)]);
    expect(plant.plant).toBe("plant-1");
    expect([plant.lanesOf("g1"), plant.lanesOf("g2")]).toEqual([
      { first: 0, count: 8 },
      { first: 8, count: 8 },
    ]);
    for (const stranger of ["g3", "", "__proto__", "constructor"]) {
      expect(plant.lanesOf(stranger)).toBeUndefined();
      expect(plant.signersAt(stranger, 0)).toEqual([]);
      expect(plant.signersEver(stranger)).toEqual([]);
      expect(plant.peerAt(stranger, 0)).toBeUndefined();
    }
    expect(plant.peerAt(certificate("nobody"), 0)).toBeUndefined();
    expect(plant.signersAt("g2", 0)).toEqual([]);
  });

  it.each([
    ["active", ACTIVE, { before: true, after: true, ever: true }],
    ["retiring", RETIRING, { before: true, after: false, ever: true }],
    ["revoked", REVOKED, { before: false, after: false, ever: false }],
    ["revoked, once retiring", { state: "revoked", untilMs: until } as const, { before: false, after: false, ever: false }],
  ])("what is %s counts until its end, and earlier signatures as long as it is not revoked", (_, standing, { before, after, ever }) => {
    const signingKey = newKey();
    const publicKey = Uint8Array.of(1, 2, 3);
    const key = { keyEpoch: 1, gateway: null, paramsId: "a".repeat(64), keyId: hash("sha256", publicKey), publicKey: "AQID", ...standing };
    const plant = plantWith([credential(signingKey, "g1", standing)], {
      consoles: [{ console: "c1", certificateHash: certificate("c1"), ...standing }],
      keys: [key],
    });
    for (const [atMs, counts] of [
      [0, before],
      [until - 1, before],
      [until, after],
      [until + 1, after],
    ] as const) {
      expect(signersAt(plant, atMs)).toEqual(counts ? [signingKey] : []);
      expect(plant.peerAt(certificate("g1"), atMs)).toEqual(counts ? { plant: "plant-1", role: "gateway", name: "g1" } : undefined);
      expect(plant.peerAt(certificate("c1"), atMs)).toEqual(counts ? { plant: "plant-1", role: "console", name: "c1" } : undefined);
      expect(plant.keyAt(key.paramsId, key.keyId, atMs)).toEqual(counts ? key : undefined);
    }
    expect(signersEver(plant)).toEqual(ever ? [signingKey] : []);
    expect(plant.keyEver(key.paramsId, key.keyId)).toEqual(ever ? key : undefined);
    // A key is known under its own parameters only.
    expect(plant.keyAt("b".repeat(64), key.keyId, 0)).toBeUndefined();
    expect(plant.keyEver(key.paramsId, "b".repeat(64))).toBeUndefined();
  });

  it("takes both the old and the new credentials of a gateway while the old ones retire", () => {
    const [old, fresh] = [newKey(), newKey()];
    const plant = plantWith([credential(old, "old", RETIRING), credential(fresh, "new", ACTIVE)]);
    expect(signersAt(plant, until - 1)).toEqual([old, fresh]);
    expect(signersAt(plant, until)).toEqual([fresh]);
    expect(signersEver(plant)).toEqual([old, fresh]);
    expect(plant.peerAt(certificate("old"), until)).toBeUndefined();
    expect(plant.peerAt(certificate("new"), until)).toEqual({ plant: "plant-1", role: "gateway", name: "g1" });
  });

  it("a key or certificate in two credentials is active while one of them is, whatever their order, and revoked once one of them is", () => {
    const key = newKey();
    for (const order of [(pair: Credential[]) => pair, (pair: Credential[]) => pair.toReversed()]) {
      const renewed = plantWith(order([credential(key, "g1", RETIRING), credential(key, "g1", ACTIVE)]));
      expect(signersAt(renewed, until + 1)).toEqual([key]);
      expect(renewed.peerAt(certificate("g1"), until + 1)?.name).toBe("g1");
      const revoked = plantWith(order([credential(key, "g1", REVOKED), credential(key, "g1", ACTIVE)]));
      expect([...signersAt(revoked, 0), ...signersEver(revoked)]).toEqual([]);
      expect(revoked.peerAt(certificate("g1"), 0)).toBeUndefined();
    }
  });

  it("lets a gateway without a certificate sign, and gives it no peer", () => {
    const key = newKey();
    const plant = plantWith([credential(key, null, ACTIVE)]);
    expect(signersAt(plant, 0)).toEqual([key]);
    expect(plant.peerAt("null", 0)).toBeUndefined();
  });

  it("counts no more than the newest eight keys of a gateway at once, however many are in force; what they all signed earlier is believed", () => {
    const keys = Array.from({ length: 11 }, newKey);
    const plant = plantWith(keys.map((key, i) => credential(key, null, i < 9 ? RETIRING : ACTIVE)));
    expect(signersAt(plant, until - 1)).toEqual(keys.slice(-MOST_SIGNERS));
    expect(signersAt(plant, until)).toEqual(keys.slice(9));
    expect(signersEver(plant)).toEqual(keys);
  });
});
