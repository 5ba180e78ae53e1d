import { generateKeyPairSync, hash } from "node:crypto";
import { isPipelineError } from "@smile/errors/pipeline-error";
import canonicalize from "canonicalize";
import { describe, expect, it } from "vitest";
import { publicHalf, signBytes } from "../src/ed25519.ts";
import {
  identityHash,
  openRegister,
  type PlantRegister,
  PlantRegisterDocument,
  type Registration,
  signRegister,
} from "../src/plant-register.ts";
import { fixturePlant } from "./fixture-register.ts";

const publicKey = Uint8Array.of(1, 2, 3);
const key = { paramsId: "a".repeat(64), keyId: hash("sha256", publicKey), publicKey };
const plant = fixturePlant({ plant: "plant-1", gateways: [{ gateway: "g1" }, { gateway: "g2" }], keys: [key] });
const { identity: pinnedKey, signature: _, ...registration } = plant.register;
const pinned = identityHash(pinnedKey);
const active = { state: "active" as const, untilMs: null };
const anyKey = () => publicHalf(generateKeyPairSync("ed25519").publicKey);

/** The code that opening ends in, and what it says. */
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (!isPipelineError(error)) throw error;
    return error.message;
  }
  return "accepted";
}
const opened = (json: unknown, pin = pinned) => refusal(() => openRegister(json, pin, "register.json"));
const signed = (changes: Partial<Registration>) => refusal(() => signRegister({ ...registration, ...changes }, plant.identity));

describe("a plant's register", () => {
  it("that was signed is opened by whoever has its identity pinned", () => {
    expect(openRegister(JSON.parse(JSON.stringify(plant.register)), pinned, "register.json")).toEqual(plant.register);
    expect(pinned).toBe(hash("sha256", Buffer.from(pinnedKey, "base64")));
  });

  it("does not depend on the order of its keys or its white space", () => {
    const reordered = Object.fromEntries(Object.entries(plant.register).toReversed());
    expect(openRegister(JSON.parse(JSON.stringify(reordered, null, 4)), pinned, "register.json")).toEqual(plant.register);
  });

  it("of another identity is refused, whatever it says of itself", () => {
    const other = fixturePlant({ plant: "plant-1", gateways: [{ gateway: "g1" }] });
    expect(opened(other.register)).toContain("SIGNATURE_INVALID");
    // The pinned identity's name on another's signature, and the other way round.
    expect(opened({ ...other.register, identity: plant.register.identity })).toContain("SIGNATURE_INVALID");
    expect(opened({ ...plant.register, identity: other.register.identity })).toContain("SIGNATURE_INVALID");
    expect(opened(plant.register, "0".repeat(64))).toContain("SIGNATURE_INVALID");
  });

  it("with any byte of its text changed is refused", () => {
    const text = Buffer.from(JSON.stringify(plant.register));
    for (let at = 0; at < text.length; at++) {
      const changed = Uint8Array.from(text).with(at, text[at]! ^ 1);
      let json: unknown;
      try {
        json = JSON.parse(Buffer.from(changed).toString());
      } catch {
        continue;
      }
      expect(opened(json), `byte ${at}`).toMatch(/SIGNATURE_INVALID|DOCUMENT_INVALID/);
    }
  });

  it("with a signature over an earlier state is refused", () => {
    const { signature } = plant.register;
    const later = plant.next({ gateways: [] });
    expect(opened(later)).toBe("accepted");
    expect(opened({ ...later, signature })).toContain("SIGNATURE_INVALID");
  });

  it("names every unknown field, at any depth, where the plant has signed it", () => {
    const { signature: __, ...unsigned } = plant.register;
    const signedAsItIs = (changes: object) => {
      const changed = { ...unsigned, ...changes };
      const statement = Buffer.from(`smile.plant-register.v1\n${canonicalize(changed)}`);
      return { ...changed, signature: Buffer.from(signBytes(statement, plant.identity)).toString("base64") };
    };
    expect(opened(signedAsItIs({}))).toBe("accepted");
    expect(opened(signedAsItIs({ surplus: 1 }))).toContain("surplus");
    const gateways = plant.register.gateways.map((gateway) => ({ ...gateway, machines: ["press 1"] }));
    expect(opened(signedAsItIs({ gateways }))).toMatch(/gateways\.0: .*machines/);
  });

  it("is refused for its signature before anybody says what is wrong with each of its fields", () => {
    const gateways = Array.from({ length: 50_000 }, () => ({ gateway: "g" }));
    expect(opened({ ...plant.register, gateways })).toContain("SIGNATURE_INVALID");
    const deep = JSON.parse(`${"[".repeat(50_000)}${"]".repeat(50_000)}`);
    expect(opened({ ...plant.register, gateways: deep })).toContain("SIGNATURE_INVALID");
  });
});

describe("a register that contradicts itself is not even signed", () => {
  const [g1, g2] = plant.register.gateways as [Gateway, Gateway];
  type Gateway = PlantRegister["gateways"][number];
  const certificateHash = "c".repeat(64);
  const credential = (changes: object = {}) => ({ ...g1.credentials[0]!, signingKey: anyKey(), ...changes });

  it.each([
    ["lanes that overlap by one", { first: 999, count: 2 }],
    ["lanes inside another's", { first: 10, count: 5 }],
    ["lanes around another's", { first: 0, count: 5000 }],
  ])("%s", (__, lanes) => {
    expect(signed({ gateways: [g1, { ...g2, lanes }] })).toContain("gateways.");
    expect(signed({ gateways: [g1, { ...g2, lanes }] })).toContain("belong to another gateway too");
  });

  it("but lanes one behind the other, in any order, are", () => {
    expect(
      signed({
        gateways: [
          { ...g2, lanes: { first: 7, count: 1 } },
          { ...g1, lanes: { first: 0, count: 7 } },
        ],
      }),
    ).toBe("accepted");
  });

  it("a gateway that is registered twice", () => {
    expect(signed({ gateways: [g1, { ...g2, gateway: "g1" }] })).toContain("gateways.1.gateway: is registered twice");
  });

  it("a signing key or a certificate that two share", () => {
    const shared = { ...g2, credentials: g1.credentials };
    expect(signed({ gateways: [g1, shared] })).toContain("gateways.1.credentials.0.signingKey: belongs to somebody else too");
    const consoles = [{ console: "c1", certificateHash, ...active }];
    const gateways = [{ ...g1, credentials: [credential({ certificateHash })] }, g2];
    expect(signed({ consoles, gateways })).toContain("gateways.0.credentials.0.certificateHash: belongs to somebody else too");
    expect(signed({ consoles: [...consoles, { ...consoles[0]!, console: "c2" }] })).toContain("consoles.1.certificateHash");
  });

  it("but one gateway may have the same certificate, or the same key, in several credentials", () => {
    const credentials = [credential({ certificateHash }), credential({ certificateHash })];
    expect(signed({ gateways: [{ ...g1, credentials }, g2] })).toBe("accepted");
    expect(signed({ gateways: [{ ...g1, credentials: [credentials[0]!, { ...credentials[0]!, certificateHash: null }] }, g2] })).toBe(
      "accepted",
    );
  });

  it("a standing that does not say when it ends, or that ends while it is active", () => {
    const retiring = { state: "retiring" as const, untilMs: null };
    const limited = { state: "active" as const, untilMs: 5 };
    for (const standing of [retiring, limited]) {
      expect(signed({ gateways: [{ ...g1, credentials: [credential(standing)] }] })).toContain("gateways.0.credentials.0.untilMs");
      expect(signed({ consoles: [{ console: "c1", certificateHash, ...standing }] })).toContain("consoles.0.untilMs");
      expect(signed({ keys: [{ ...plant.register.keys[0]!, ...standing }] })).toContain("keys.0.untilMs");
    }
  });

  it("a key under another key's id, or registered twice", () => {
    const [first] = plant.register.keys;
    expect(signed({ keys: [{ ...first!, keyId: "b".repeat(64) }] })).toContain("keys.0.keyId: is not the SHA-256 of publicKey");
    expect(signed({ keys: [first!, { ...first!, keyEpoch: 2 }] })).toContain("keys.1.keyId: is registered twice");
  });

  it("a name that could not be an MQTT topic level", () => {
    for (const name of ["", "+", "a/b", "#", "a b"]) expect(signed({ plant: name })).toContain("plant: ");
  });

  it("in very many ways, of which it names few: what a plant signs must not fill the memory of whoever reads it", () => {
    const issues = (changes: object) => PlantRegisterDocument.safeParse({ ...plant.register, ...changes }).error!.issues.length;
    const wrong = Array.from({ length: 200 }, (_, i) => ({ ...g1, gateway: `g${i}`, credentials: new Array(100).fill({}) }));
    expect([issues({ gateways: wrong }), issues({ keys: new Array(1000).fill({}) })].every((count) => count > 0 && count < 10)).toBe(true);
    expect(issues({ gateways: wrong.map((gateway) => ({ ...gateway, credentials: [] })) })).toBe(10);
    expect(opened({ ...plant.register, ["x".repeat(1e6)]: 1 }).length).toBeLessThan(1000);
    expect(signed({ ["x".repeat(1e6)]: 1 }).length).toBeLessThan(1000);
    expect(signed({ gateways: wrong as unknown as Registration["gateways"] })).toContain("gateways.0.credentials.0.signingKey");
  });
});
