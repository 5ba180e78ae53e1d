import { createHash, generateKeyPairSync, type KeyObject } from "node:crypto";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { encodeLanes } from "@smile/he/lanes";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { publicHalf } from "@smile/schemas/ed25519";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import type { Registration } from "@smile/schemas/plant-register";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import { signFrame } from "@smile/schemas/signing";
import { framesTopic } from "@smile/schemas/topics";
import { beforeAll, describe, expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { PLANT, type SmallDeployment, smallDeployment } from "../../test/support/small-deployment.ts";
import { type AdmissionRules, admitFrame } from "../src/admission.ts";
import { Catalogue } from "../src/catalogue.ts";

const NOW_MS = 1_790_000_000_000;
const hash = (digit: string) => digit.repeat(64);
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let small: SmallDeployment;
let rules: AdmissionRules & { readonly registry: FixedRegistry };
let frame: Frame;
beforeAll(async () => {
  small = await smallDeployment({ scheme: "bgv" });
  frame = small.frame("g", 0, [{ lane: 3, features: small.window(1) }]);
  return () => small[Symbol.dispose]();
});

/** A registry of its own for each test that changes it. */
function rulesWith(changes: Partial<Registration> = {}, isDurable: AdmissionRules["isDurable"] = () => false) {
  const catalogue = new Catalogue([small.deployed.deployment]);
  const registry = new FixedRegistry([Object.keys(changes).length === 0 ? small.plant.register : small.plant.next(changes)]);
  return { registry, catalogue, isDurable };
}

const arrival = (payload: Uint8Array, { plant = PLANT, gateway = "g", peer = null as PeerIdentity | null } = {}) => {
  return { topic: framesTopic(plant, gateway), payload, peer };
};
const keyOf = (gateway: string): KeyObject => small.plant.signingKeys.get(gateway)!;
const withCredentials = (of: string, credentials: Registration["gateways"][number]["credentials"]): Partial<Registration> => ({
  gateways: small.plant.register.gateways.map((each) => (each.gateway === of ? { ...each, credentials } : each)),
});

/** The code with which a frame is refused, or "admitted". */
function outcome(given: Frame | Uint8Array, to: Parameters<typeof arrival>[1] = {}, at = rules, nowMs = NOW_MS): string {
  try {
    admitFrame(arrival(given instanceof Uint8Array ? given : frameCodec.encode(given), to), at, nowMs);
    return "admitted";
  } catch (error) {
    if (isPipelineError(error)) return error.code;
    throw error;
  }
}

describe("admission of frames", () => {
  beforeAll(() => {
    rules = rulesWith();
  });

  it("admits a frame that its gateway signed, over a connection with its certificate or with none", () => {
    expect(outcome(frame)).toBe("admitted");
    expect(outcome(frame, { peer: { plant: PLANT, role: "gateway", name: "g" } })).toBe("admitted");
  });

  it("refuses each thing that is wrong with its code, however well it is signed", () => {
    const signed = (change: Partial<Frame>) => small.sign({ ...frame, ...change });
    const { ciphertext } = frame;
    const transparent = ciphertext.slice().fill(0, ciphertext.length / 2);
    const aboveQ = ciphertext.slice().fill(0xff, 0, 8);
    const cases: readonly [code: string, frame: Frame | Uint8Array][] = [
      ["FRAME_WRONG_LENGTH", Buffer.alloc(70_000, 0x46)],
      ["FRAME_MALFORMED", frameCodec.encode(frame).subarray(0, 60)],
      ["FRAME_MALFORMED", signed({ sequence: -1 })],
      ["FRAME_MALFORMED", signed({ epoch: -1 })],
      ["FRAME_MALFORMED", signed({ block: -1 })],
      ["PARAMS_UNKNOWN", signed({ paramsId: hash("a") })],
      ["FEATURE_SET_UNKNOWN", signed({ featureSetId: hash("b") })],
      ["FEATURE_SET_UNKNOWN", signed({ keyMode: "symmetric" })],
      ["FEATURE_SET_UNKNOWN", signed({ scheme: "identity" })],
      ["LANES_INVALID", signed({ lanes: new Uint8Array(frame.lanes.length) })],
      ["LANES_INVALID", signed({ lanes: frame.lanes.subarray(1) })],
      ["KEY_UNKNOWN", signed({ keyId: hash("c") })],
      ["FRAME_WRONG_LENGTH", signed({ ciphertext: ciphertext.subarray(1) })],
      ["FRAME_WRONG_LENGTH", signed({ ciphertext: Buffer.concat([ciphertext, Buffer.alloc(1)]) })],
      ["FRAME_WRONG_HASH", signed({ ciphertext: ciphertext.toReversed() })],
      ["RESIDUE_OUT_OF_RANGE", signed({ ciphertext: aboveQ, ciphertextHash: sha256(aboveQ) })],
      ["CIPHERTEXT_TRANSPARENT", signed({ ciphertext: transparent, ciphertextHash: sha256(transparent) })],
    ];
    expect(cases.map(([, each]) => outcome(each))).toEqual(cases.map(([code]) => code));
  });

  it("looks at nothing of a frame whose signature is another's, is missing, or was made for other fields", () => {
    // Everything else about it is wrong, too: none of that is told.
    const wrong = { ...frame, paramsId: hash("a"), lanes: new Uint8Array(0), ciphertext: new Uint8Array(3), sequence: -1 };
    const isDurable = () => {
      throw new Error("asked before the signature was verified");
    };
    for (const forged of [
      wrong,
      { ...wrong, signature: new Uint8Array(0) },
      signFrame(wrong, keyOf("h")),
      { ...frame, sequence: 1 },
      { ...frame, lanes: encodeLanes([4], small.deployed.deployment.lanes) },
    ]) {
      expect(outcome(forged, {}, { ...rules, isDurable })).toBe("SIGNATURE_INVALID");
    }
  });

  it("refuses a frame of another plant, under either plant's topic, certificate or signature", () => {
    const other = fixturePlant({ plant: "other", gateways: [{ gateway: "g" }] });
    const both = { ...rules, registry: new FixedRegistry([small.plant.register, other.register]) };
    const swapped = signFrame({ ...frame, plant: "other" }, other.signingKeys.get("g")!);
    expect(outcome(swapped, {}, both)).toBe("FRAME_WRONG_SENDER");
    expect(outcome(swapped, { plant: "other" }, both)).toBe("KEY_UNKNOWN"); // this plant's key is none of the other's
    expect(outcome({ ...frame, plant: "other" }, { plant: "other" }, both)).toBe("SIGNATURE_INVALID");
    expect(outcome(frame, { peer: { plant: "other", role: "gateway", name: "g" } }, both)).toBe("FRAME_WRONG_SENDER");
    expect(outcome({ ...frame, plant: "nobody" }, { plant: "nobody" }, both)).toBe("PLANT_UNKNOWN");
  });

  it("refuses a frame of another gateway, and one that a console or a stranger sends", () => {
    expect(outcome(frame, { gateway: "h" })).toBe("FRAME_WRONG_SENDER");
    expect(outcome({ ...frame, gateway: "h" }, { gateway: "h" })).toBe("SIGNATURE_INVALID");
    expect(outcome(frame, { peer: { plant: PLANT, role: "gateway", name: "h" } })).toBe("FRAME_WRONG_SENDER");
    expect(outcome(frame, { peer: { plant: PLANT, role: "console", name: "g" } })).toBe("FRAME_WRONG_SENDER");
    expect(outcome({ ...frame, gateway: "stranger" }, { gateway: "stranger" })).toBe("SENDER_UNKNOWN");
  });

  it("takes a retiring key's signature until its time and not from then on, and never a revoked one's", () => {
    const next = generateKeyPairSync("ed25519").privateKey;
    const standing = (of: KeyObject, state: "active" | "retiring" | "revoked", untilMs: number | null = null) => {
      return { signingKey: publicHalf(of), certificateHash: null, state, untilMs };
    };
    const changed = rulesWith(withCredentials("g", [standing(keyOf("g"), "retiring", NOW_MS + 1000), standing(next, "active")]));
    expect(outcome(frame, {}, changed, NOW_MS + 999)).toBe("admitted");
    expect(outcome(frame, {}, changed, NOW_MS + 1000)).toBe("SIGNATURE_INVALID");
    expect(outcome(signFrame(frame, next), {}, changed, NOW_MS + 1000)).toBe("admitted");
    changed.registry.replace(small.plant.next(withCredentials("g", [standing(keyOf("g"), "revoked"), standing(next, "active")])));
    expect(outcome(frame, {}, changed)).toBe("SIGNATURE_INVALID");
    changed.registry.replace(small.plant.next(withCredentials("g", [standing(keyOf("g"), "revoked")])));
    expect(outcome(frame, {}, changed)).toBe("SENDER_UNKNOWN");
  });

  it("refuses lanes of a neighbour: the whole block, one lane beyond the end, one before the beginning", () => {
    const { lanes } = small.deployed.deployment;
    // g may fill lanes 2 to 4 of block 0, h the rest of block 0.
    const gateways = small.plant.register.gateways.filter(({ gateway }) => gateway === "g" || gateway === "h");
    const leased = rulesWith({
      gateways: gateways.map((each) =>
        each.gateway === "g" ? { ...each, lanes: { first: 2, count: 3 } } : { ...each, lanes: { first: 5, count: lanes - 5 } },
      ),
    });
    const using = (used: number[], block = 0) => outcome(small.sign({ ...frame, block, lanes: encodeLanes(used, lanes) }), {}, leased);
    expect(using([2, 3, 4])).toBe("admitted");
    expect(using([4])).toBe("admitted");
    expect(using([1, 2])).toBe("LANES_INVALID");
    expect(using([4, 5])).toBe("LANES_INVALID");
    expect(using([3], 1)).toBe("LANES_INVALID");
    expect(using([0, lanes - 1])).toBe("LANES_INVALID");
  });

  it("takes a retiring encryption key until its time, and in public mode none that is one gateway's", () => {
    const [key] = small.plant.register.keys;
    const until = rulesWith({ keys: [{ ...key!, state: "retiring", untilMs: NOW_MS + 1000 }] });
    expect(outcome(frame, {}, until, NOW_MS + 999)).toBe("admitted");
    expect(outcome(frame, {}, until, NOW_MS + 1000)).toBe("KEY_UNKNOWN");
    until.registry.replace(small.plant.next({ keys: [{ ...key!, state: "revoked", untilMs: null }] }));
    expect(outcome(frame, {}, until)).toBe("KEY_UNKNOWN");
    until.registry.replace(small.plant.next({ keys: [{ ...key!, gateway: "g" }] }));
    expect(outcome(frame, {}, until)).toBe("KEY_UNKNOWN");
  });

  it("in symmetric mode takes a gateway's own key only", async () => {
    using symmetric = await smallDeployment({ scheme: "bgv", keyMode: "symmetric" });
    const [key] = symmetric.plant.register.keys;
    const own = symmetric.frame("g", 0, [{ lane: 0, features: symmetric.window(1) }]);
    const catalogue = new Catalogue([symmetric.deployed.deployment]);
    const at = (gateway: string | null) => {
      const registry = new FixedRegistry([symmetric.plant.next({ keys: [{ ...key!, gateway }] })]);
      return outcome(own, {}, { registry, catalogue, isDurable: () => false });
    };
    expect([at("g"), at("h"), at(null)]).toEqual(["admitted", "KEY_UNKNOWN", "KEY_UNKNOWN"]);
  });

  it("tells a frame that is durable already from a new one, without another look at it", () => {
    const seen = { ...rules, isDurable: ({ sequence }: Frame) => sequence === 0 };
    expect(admitFrame(arrival(frameCodec.encode(frame)), seen, NOW_MS).isRepeated).toBe(true);
    const next = small.frame("g", 1, [{ lane: 3, features: small.window(1) }]);
    expect(admitFrame(arrival(frameCodec.encode(next)), seen, NOW_MS).isRepeated).toBe(false);
  });
});
