import type { ErrorCode } from "@smile/errors/pipeline-error";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { headPolynomial } from "@smile/he/lanes";
import { openEncryptor, openEvaluator } from "@smile/he/open";
import { type KeyMode, residueBits, type Scheme } from "@smile/he/params";
import { type IntegerHead, plan } from "@smile/he/planner";
import { pack } from "@smile/he/residues";
import { prepareHead, scoreBatch } from "@smile/he/scoring";
import { checkFrame, frameLength, mergeFrames, replyLength } from "@smile/he/wire";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openDecryptor } from "../src/decryptor.ts";
import { generateKeyPair, keyIdOf } from "../src/keys.ts";
import { encryptionKey, openLoop, plainScore, scoringHead } from "./encrypted-loop.ts";

async function codeOf(work: () => unknown): Promise<ErrorCode | "accepted"> {
  try {
    await work();
  } catch (error) {
    if (isPipelineError(error)) return error.code;
    throw error;
  }
  return "accepted";
}

const headOf = (featureCount: number, outputs: number): IntegerHead => ({
  weights: Array.from({ length: outputs }, (_, k) => Array.from({ length: featureCount }, (_, f) => Math.round(1023 * Math.sin(f + k)))),
  bias: Array.from({ length: outputs }, (_, k) => 100_000 * (k % 2 === 0 ? 1 : -1)),
});
const planOf = (scheme: Scheme, keyMode: KeyMode, featureCount: number, outputs = 1) =>
  plan({ scheme, featureCount, featureBits: 8, heads: [headOf(featureCount, outputs)], keyMode, maxMerges: 8, modelPrivacy: "compact" });
const featuresOf = (featureCount: number, seed: number) =>
  Int32Array.from({ length: featureCount }, (_, f) => Math.round(127 * Math.cos(seed * 7.1 + f)));

const COMBINATIONS: [Scheme, KeyMode][] = [
  ["bgv", "public"],
  ["bgv", "symmetric"],
  ["identity", "public"],
  ["identity", "symmetric"],
];

describe.each(COMBINATIONS)("backend %s, %s keys", (scheme, keyMode) => {
  const form = keyMode === "public" ? "full" : "seeded";

  it.each([
    [1, 1],
    [61, 1],
    [64, 3],
    [347, 2],
    [2048, 1],
  ])(
    "F = %i, %i outputs: encrypted, multiplied, sanitised and decrypted scores are the dot products plus bias",
    async (featureCount, outputs) => {
      const planned = planOf(scheme, keyMode, featureCount, outputs);
      const head = headOf(featureCount, outputs);
      using loop = await openLoop(planned);
      const chosen = [...new Set([0, 1, Math.floor(planned.lanes / 2), planned.lanes - 1])].filter((lane) => lane < planned.lanes);
      const entries = chosen.map((lane) => ({ lane, features: featuresOf(featureCount, lane) }));
      const frame = loop.frame(entries);
      expect(frame.length).toBe(frameLength(planned.params, keyMode));
      expect(() => checkFrame(planned.params, keyMode, frame)).not.toThrow();
      expect(loop.reply(head, [frame], chosen).map((reply) => reply.length)).toEqual(
        head.weights.map(() => replyLength(planned.params, chosen.length)),
      );
      expect(loop.scores(head, [frame], chosen)).toEqual(
        head.weights.map((_, k) => entries.map(({ features }) => plainScore(head, k, features))),
      );
    },
  );

  it("lanes that hold no window score the bias alone", async () => {
    const planned = planOf(scheme, keyMode, 64);
    const head = headOf(64, 1);
    using loop = await openLoop(planned);
    const features = featuresOf(64, 1);
    const every = Array.from({ length: planned.lanes }, (_, lane) => lane);
    const [scores] = loop.scores(head, [loop.frame([{ lane: 5, features }])], every);
    expect(scores).toEqual(every.map((lane) => (lane === 5 ? plainScore(head, 0, features) : head.bias[0])));
  });

  it("a head without any weight scores its bias", async () => {
    const planned = planOf(scheme, keyMode, 64);
    using loop = await openLoop(planned);
    const head = { weights: [Array.from({ length: 64 }, () => 0)], bias: [-77] };
    expect(loop.scores(head, [loop.frame([{ lane: 3, features: featuresOf(64, 3) }])], [0, 3])).toEqual([[-77, -77]]);
  });

  it("one evaluator and one encryptor serve many frames and heads in turn", async () => {
    const planned = planOf(scheme, keyMode, 64);
    using loop = await openLoop(planned);
    for (let i = 0; i < 5; i++) {
      const head = { weights: [headOf(64, 5).weights[i]!], bias: [i] };
      const features = featuresOf(64, i);
      // A shorter set of windows each time: nothing of the frame before may be left over.
      const entries = Array.from({ length: 5 - i }, (_, lane) => ({ lane, features }));
      const [scores] = loop.scores(head, [loop.frame(entries)], [0, 1, 2, 3, 4]);
      expect(scores).toEqual([0, 1, 2, 3, 4].map((lane) => (lane < 5 - i ? plainScore(head, 0, features) : i)));
    }
  });

  it("keys of other parameters, of the other scheme, damaged or of the wrong kind are refused with KEY_MISMATCH", async () => {
    const planned = planOf(scheme, keyMode, 64);
    const { params } = planned;
    const keys = await generateKeyPair(params);
    const foreign =
      scheme === "bgv" ? await generateKeyPair(planOf("bgv", keyMode, 347).params) : await generateKeyPair({ ...params, scheme: "bgv" });
    using evaluator = await openEvaluator(params);
    const damaged = (bytes: Uint8Array) => bytes.map((byte, i) => (i === 20 ? byte ^ 1 : byte));
    const compressed = (bytes: Uint8Array) => bytes.map((byte, i) => (i === 5 ? 2 : byte));
    const otherScheme = scheme === "bgv" ? IDENTITY_KEY : foreign.publicKey;
    const publics = [
      foreign.publicKey,
      damaged(keys.publicKey),
      compressed(keys.publicKey),
      keys.publicKey.subarray(1),
      otherScheme,
      new Uint8Array(0),
    ];
    const secrets = [
      foreign.secretKey,
      damaged(keys.secretKey),
      compressed(keys.secretKey),
      keys.secretKey.subarray(1),
      otherScheme,
      new Uint8Array(0),
    ];
    if (scheme === "bgv") {
      publics.push(keys.secretKey);
      secrets.push(keys.publicKey);
    }
    for (const bytes of keyMode === "public" ? publics : secrets)
      expect(await codeOf(() => openEncryptor(params, { mode: keyMode, bytes }))).toBe("KEY_MISMATCH");
    for (const bytes of publics) expect(await codeOf(() => evaluator.openZeros(bytes))).toBe("KEY_MISMATCH");
    for (const bytes of secrets) expect(await codeOf(() => openDecryptor(params, bytes, 64))).toBe("KEY_MISMATCH");
  });

  it("takes keys that were read into Buffers", async () => {
    const planned = planOf(scheme, keyMode, 64);
    const { publicKey, secretKey } = await generateKeyPair(planned.params);
    const read = { keyId: "", publicKey: Buffer.from(publicKey), secretKey: Buffer.from(secretKey) };
    using _encryptor = await openEncryptor(planned.params, encryptionKey(planned, read));
    using evaluator = await openEvaluator(planned.params);
    using zeros = evaluator.openZeros(read.publicKey);
    using _decryptor = await openDecryptor(planned.params, read.secretKey, 64);
    expect(zeros.next().c1.length).toBe(2 * planned.params.n);
    expect(keyIdOf(read.publicKey)).toBe(keyIdOf(publicKey));
  });

  it("frames of another length or with a residue of q or more are refused, and the next one is scored", async () => {
    const planned = planOf(scheme, keyMode, 64);
    const { params } = planned;
    using loop = await openLoop(planned);
    using polynomial = loop.evaluator.prepare(headPolynomial(headOf(64, 1).weights[0]!, params.n));
    const frame = loop.frame([{ lane: 0, features: featuresOf(64, 0) }]);
    const longer = new Uint8Array(frame.length + 1);
    longer.set(frame);
    for (const bytes of [frame.subarray(1), longer, new Uint8Array(0)]) {
      expect(await codeOf(() => loop.evaluator.multiply(bytes, form, [polynomial]))).toBe("FRAME_WRONG_LENGTH");
      expect(await codeOf(() => checkFrame(params, keyMode, bytes))).toBe("FRAME_WRONG_LENGTH");
    }
    const q = Uint32Array.of(Number(params.q & 0xffffffffn), Number(params.q >> 32n));
    const spoilt = Uint8Array.from(frame);
    // N residues of any width end on a whole byte, so the first residue of c0 can be replaced by writing its own bytes.
    spoilt.set(pack(q, residueBits(params)).subarray(0, Math.floor(residueBits(params) / 8)));
    const top = pack(q, residueBits(params)).at(-1)!;
    const mask = 2 ** (residueBits(params) % 8) - 1;
    if (residueBits(params) % 8 !== 0) {
      const at = Math.floor(residueBits(params) / 8);
      spoilt[at] = (spoilt[at]! & ~mask) | top;
    }
    expect(await codeOf(() => loop.evaluator.multiply(spoilt, form, [polynomial]))).toBe("RESIDUE_OUT_OF_RANGE");
    expect(await codeOf(() => checkFrame(params, keyMode, spoilt))).toBe("RESIDUE_OUT_OF_RANGE");
    expect(loop.evaluator.multiply(frame, form, [polynomial])).toHaveLength(1);
  });

  it("replies of another length, with a residue of q or more, or for lanes that are not there are refused", async () => {
    const planned = planOf(scheme, keyMode, 64);
    using loop = await openLoop(planned);
    const head = headOf(64, 1);
    const [reply] = loop.reply(head, [loop.frame([{ lane: 0, features: featuresOf(64, 0) }])], [0, 1]);
    const { decryptor } = loop;
    expect(await codeOf(() => decryptor.decrypt(reply!, [0]))).toBe("FRAME_WRONG_LENGTH");
    expect(await codeOf(() => decryptor.decrypt(reply!.subarray(1), [0, 1]))).toBe("FRAME_WRONG_LENGTH");
    expect(await codeOf(() => decryptor.decrypt(reply!.with(0, 0).fill(255), [0, 1]))).toBe("RESIDUE_OUT_OF_RANGE");
    for (const lanes of [
      [0, planned.lanes],
      [-1, 0],
      [0, 0],
      [1, 0],
      [0, 0.5],
    ])
      expect(await codeOf(() => decryptor.decrypt(reply!, lanes))).toBe("LANES_INVALID");
    expect(decryptor.decrypt(reply!, [0, 1])[1]).toBe(head.bias[0]);
  });

  it("scoring refuses lanes that are not there, and zeros of another evaluator", async () => {
    const planned = planOf(scheme, keyMode, 64);
    using loop = await openLoop(planned);
    using prepared = prepareHead(loop.evaluator, scoringHead(planned, headOf(64, 1)));
    const frame = loop.frame([{ lane: 0, features: featuresOf(64, 0) }]);
    expect(await codeOf(() => scoreBatch(loop.evaluator, prepared, frame, [planned.lanes], loop.zeros))).toBe("LANES_INVALID");
    using other = await openLoop(planned);
    if (scheme === "bgv") expect(() => scoreBatch(loop.evaluator, prepared, frame, [0], other.zeros)).toThrow(TypeError);
  });
});

describe.each(["bgv", "identity"] as const)("merging under backend %s", (scheme) => {
  it("keeps every window of every frame, however the lanes are dealt", async () => {
    const planned = planOf(scheme, "public", 64);
    const head = headOf(64, 1);
    using loop = await openLoop(planned);
    const dealt = fc.array(fc.integer({ min: 0, max: planned.maxMerges - 1 }), { minLength: planned.lanes, maxLength: planned.lanes });
    fc.assert(
      fc.property(dealt, (owners) => {
        const entries = owners.map((_, lane) => ({ lane, features: featuresOf(64, lane) }));
        const frames = Array.from({ length: planned.maxMerges }, (_, k) => loop.frame(entries.filter(({ lane }) => owners[lane] === k)));
        const every = entries.map(({ lane }) => lane);
        expect(loop.scores(head, frames, every)).toEqual([entries.map(({ features }) => plainScore(head, 0, features))]);
        // The order of arrival does not matter.
        expect(mergeFrames(planned.params, frames)).toEqual(mergeFrames(planned.params, frames.toReversed()));
      }),
      { numRuns: 8, seed: 21 },
    );
  });
});

it("an all-zero ciphertext, which everyone could read, is refused before SEAL meets it, and by the evaluator", async () => {
  const { params } = planOf("bgv", "public", 64);
  using evaluator = await openEvaluator(params);
  using polynomial = evaluator.prepare(headPolynomial([1], params.n));
  const zeros = new Uint8Array(frameLength(params, "public"));
  expect(await codeOf(() => checkFrame(params, "public", zeros))).toBe("CIPHERTEXT_TRANSPARENT");
  expect(await codeOf(() => evaluator.multiply(zeros, "full", [polynomial]))).toBe("CIPHERTEXT_TRANSPARENT");
});

it("a polynomial with too few coefficients is refused, since the one before would fill it up", async () => {
  const planned = planOf("bgv", "public", 64);
  using loop = await openLoop(planned);
  expect(() => loop.encryptor.encrypt(new Int32Array(10))).toThrow(RangeError);
});

it("a polynomial serves only the evaluator that prepared it", async () => {
  const { params } = planOf("bgv", "public", 64);
  using one = await openEvaluator(params);
  using two = await openEvaluator(params);
  using polynomial = one.prepare(headPolynomial([1], params.n));
  using loop = await openLoop(planOf("bgv", "public", 64));
  expect(() => two.multiply(loop.frame([]), "full", [polynomial])).toThrow(TypeError);
});

it("key pairs are fresh each time, and named by the hash of their public key", async () => {
  const { params } = planOf("bgv", "public", 64);
  const [a, b] = [await generateKeyPair(params), await generateKeyPair(params)];
  expect(a.keyId).toMatch(/^[0-9a-f]{64}$/);
  expect(a.keyId).toBe(keyIdOf(a.publicKey));
  expect(a.keyId).not.toBe(b.keyId);
  expect(Buffer.compare(a.secretKey, b.secretKey)).not.toBe(0);
});
