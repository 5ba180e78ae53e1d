import type { LaneEntry } from "@smile/he/lanes";
import { scorePosition } from "@smile/he/lanes";
import type { KeyMode, Params, Scheme } from "@smile/he/params";
import { type ModelPrivacy, plan } from "@smile/he/planner";
import { roundingBound } from "@smile/he/replies";
import { residueAt, setResidue } from "@smile/he/residues";
import { prepareHead, scoreBatch } from "@smile/he/scoring";
import { decodeSwitchedReply, encodeSwitchedReply, switchedReplyLength } from "@smile/he/switched-reply";
import { type CiphertextResidues, decodeReply, encodeReply } from "@smile/he/wire";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../he/test/arbitrary-heads.ts";
import { openDecryptor } from "../src/decryptor.ts";
import { codeOf } from "./code-of.ts";
import { openLoop, plainScore, scoringHead } from "./encrypted-loop.ts";
import { noiseOf, openPhaseReader } from "./phase-reader.ts";

const SHAPES = {
  constant: () => 1,
  alternating: (f: number) => (f % 2 === 0 ? 1 : -1),
  chirp: (f: number) => Math.sin(1 + f * f),
} as const;
const headOf = (shape: keyof typeof SHAPES, featureCount: number, largest = 1023) => ({
  weights: [Array.from({ length: featureCount }, (_, f) => Math.round(SHAPES[shape](f) * largest))],
  bias: [-largest],
});
const CASES: [Scheme, KeyMode, ModelPrivacy, number, keyof typeof SHAPES][] = [
  ["bgv", "public", "compact", 64, "chirp"],
  ["bgv", "public", "compact", 64, "constant"],
  ["bgv", "public", "compact", 347, "alternating"],
  ["bgv", "symmetric", "compact", 64, "chirp"],
  ["bgv", "symmetric", "compact", 1, "constant"],
  ["bgv", "public", "sanitised", 61, "chirp"],
  ["identity", "public", "compact", 64, "chirp"],
];

describe.each(CASES)("%s, %s keys, %s, F = %i, %s weights", (scheme, keyMode, modelPrivacy, featureCount, shape) => {
  const head = headOf(shape, featureCount);
  const request = {
    scheme,
    featureCount,
    featureBits: 8,
    heads: [head],
    keyMode,
    maxMerges: keyMode === "public" ? 4 : 1,
    modelPrivacy,
  } as const;
  it.each([1, 2, 32, 256])("scores read from switched replies of step %i are exact to the step, at any windows", async (step) => {
    const planned = plan({ ...request, replyStep: step });
    expect(planned.replies?.step).toBe(step);
    using loop = await openLoop(planned);
    const { lanes: total, maxMerges } = planned;
    const every = Array.from({ length: Math.min(total, 64) }, (_, lane) => lane);
    const sign = (w: number) => (w < 0 ? -1 : 1);
    // The largest score, the smallest, and any: at the first two the sum lies next to where it would wrap around.
    const window = fc.oneof(
      fc.constantFrom(1, -1).map((side) => (f: number) => 127 * side * sign(head.weights[0]![f]!)),
      fc.integer().map((seed) => {
        const random = seededRandom(seed);
        return () => Math.round((2 * random() - 1) * 127);
      }),
    );
    fc.assert(
      fc.property(fc.array(window, { minLength: every.length, maxLength: every.length }), (fills) => {
        const entries = fills.map(
          (fill, lane): LaneEntry => ({ lane, features: Int32Array.from({ length: featureCount }, (_, f) => fill(f)) }),
        );
        const frames = Array.from({ length: maxMerges }, (_, k) => loop.frame(entries.filter(({ lane }) => lane % maxMerges === k)));
        const [reply] = loop.reply(head, frames, every);
        expect(reply!.length).toBe(switchedReplyLength(planned.params, planned.replies!.bits, every.length));
        const scores = loop.decryptor.decrypt(reply!, every);
        entries.forEach(({ features }, i) => {
          const exact = plainScore(head, 0, features);
          if (step === 1) expect(scores[i]).toBe(exact);
          else {
            expect(Math.abs(scores[i]! - exact)).toBeLessThan(step);
            expect(Math.abs(scores[i]! % step)).toBe(0);
          }
        });
      }),
      { numRuns: 4, seed: 65 },
    );
  });
});

const F = 64;
const head = headOf("chirp", F);
const request = { featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 4, modelPrivacy: "compact" } as const;
const exact = plan({ ...request, replyStep: 1 });
const rounded = plan({ ...request, replyStep: 256 });
const every = Array.from({ length: 32 }, (_, lane) => lane);
const windows = (seed: number): LaneEntry[] => {
  const random = seededRandom(seed);
  return every.map((lane) => ({ lane, features: Int32Array.from({ length: F }, () => Math.round((2 * random() - 1) * 127)) }));
};

/** The secret key's coefficients: what the ciphertext (0, 1) carries. */
async function secretOf(params: Params, secretKey: Uint8Array): Promise<number[]> {
  using reader = await openPhaseReader(params, secretKey);
  const one = new Uint32Array(2 * params.n);
  one[0] = 1;
  return Array.from(reader.phases({ c0: new Uint32Array(2 * params.n), c1: one }, false), Number);
}

/** c0 + c1 s modulo 2^bits, centred, by schoolbook arithmetic on big integers. */
function phaseOf(
  { c0, c1 }: { c0: Float64Array; c1: Float64Array },
  secret: readonly number[],
  position: number,
  lane: number,
  bits: number,
): number {
  let sum = BigInt(c0[lane]!);
  c1.forEach((value, j) => {
    const k = position - j;
    sum += BigInt(value) * BigInt(k >= 0 ? secret[k]! : -secret[k + secret.length]!);
  });
  return Number(BigInt.asIntN(bits, sum));
}

it("what rounding adds is within the stated bound, and as wide as for uniform residues: 10.7 units, an eleventh of the bound at most", async () => {
  for (const planned of [exact, rounded]) {
    const { params } = planned;
    const { bits } = planned.replies!;
    using loop = await openLoop(planned);
    using reader = await openPhaseReader(params, loop.keys.secretKey);
    const secret = await secretOf(params, loop.keys.secretKey);
    const perScore = 2 ** bits / params.t;
    const found: number[] = [];
    for (let round = 0; round < 12; round++) {
      const entries = windows(round);
      // The same product and sanitiser twice: whole, to read the noise under q exactly, and switched.
      using prepared = prepareHead(loop.evaluator, scoringHead({ ...planned, replies: undefined }, head));
      const [whole] = scoreBatch(loop.evaluator, prepared, loop.frame(entries), every, loop.zeros);
      const ciphertext = decodeReply(params, whole!, every, F);
      const phases = reader.phases(ciphertext, false);
      const decoded = decodeSwitchedReply(params, bits, encodeSwitchedReply(params, bits, ciphertext, every, F), every, F);
      for (const lane of every) {
        const position = scorePosition(lane, F);
        const { message, noise } = noiseOf(phases[position]!, params.t);
        const scaled = (message - (noise * params.t + message) / Number(params.q)) * perScore;
        found.push(phaseOf(decoded, secret, position, lane, bits) - scaled);
      }
    }
    const deviation = Math.sqrt(found.reduce((sum, x) => sum + x * x, 0) / found.length);
    // 384 values: the estimate itself deviates by 3.6 %, the key's norm by 2 %.
    expect(deviation).toBeGreaterThan(0.7 * Math.sqrt(params.n / 18));
    expect(deviation).toBeLessThan(1.3 * Math.sqrt(params.n / 18));
    expect(Math.max(...found.map(Math.abs))).toBeLessThan(roundingBound(params.n) / 3);
  }
});

it("with all the noise that a plan lets pass, on either side, scores stay right; with more than its share, exact ones break", async () => {
  for (const planned of [exact, rounded]) {
    const { params, replies, floodBits, noiseBits, scoreBound } = planned;
    const { n, q, t } = params;
    using loop = await openLoop(planned);
    const largest = (2 ** noiseBits - scoreBound) / t;
    expect(largest).toBeGreaterThan(2 ** floodBits);
    const scores = [0, 1, -1, scoreBound, -scoreBound, 12_345];
    const lanes = scores.map((_, lane) => lane);
    const read = (noise: number) => {
      const zero = loop.zeros.next();
      scores.forEach((score, lane) => {
        const position = scorePosition(lane, F);
        setResidue(zero.c0, position, residueAt(zero.c0, position) + BigInt(score) + BigInt(t) * BigInt(Math.floor(noise)), q);
      });
      return loop.decryptor.decrypt(encodeSwitchedReply(params, replies!.bits, zero, lanes, F), lanes);
    };
    // What a fresh zero adds is bounded together with the product's noise, so it has its place here as long as its own bound is kept free.
    const fresh = 14 * Math.sqrt((42 / 4) * (1 + (4 * n) / 3));
    for (const noise of [largest - fresh, fresh - largest])
      read(noise).forEach((score, i) => {
        expect(Math.abs(score - scores[i]!)).toBeLessThan(replies!.step);
      });
    if (replies!.step === 1) expect(read(Number(q) / t / 2 + fresh)).not.toEqual(scores);
  }
});

it("a switched reply is computed from the whole one: what the plant learns of the head is no more than before", async () => {
  using loop = await openLoop(exact);
  const { params, replies } = exact;
  using prepared = prepareHead(loop.evaluator, scoringHead({ ...exact, replies: undefined }, head));
  const frame = loop.frame(windows(1));
  const [whole] = scoreBatch(loop.evaluator, prepared, frame, every, loop.zeros);
  const ciphertext = decodeReply(params, whole!, every, F);
  const switched = encodeSwitchedReply(params, replies!.bits, ciphertext, every, F);
  expect(loop.decryptor.decrypt(switched, every)).toEqual(windows(1).map(({ features }) => plainScore(head, 0, features)));
  // Whatever stood at the coefficients that a whole reply leaves out.
  const other: CiphertextResidues = { c0: ciphertext.c0.slice(), c1: ciphertext.c1 };
  for (let i = 0; i < params.n; i++) if (i % F !== F - 1) setResidue(other.c0, i, BigInt(i * 7919), params.q);
  expect(encodeSwitchedReply(params, replies!.bits, other, every, F)).toEqual(switched);
  expect(encodeReply(params, other, every, F)).toEqual(whole);
});

it("flooding is no narrower than for whole replies, in every mode", () => {
  for (const keyMode of ["public", "symmetric"] as const)
    for (const modelPrivacy of ["compact", "sanitised"] as const) {
      const asked = { ...request, keyMode, modelPrivacy };
      const { floodBits } = plan(asked);
      for (const step of [1, 2, 64, 1024]) expect(plan({ ...asked, replyStep: step }).floodBits).toBeGreaterThanOrEqual(floodBits);
    }
});

it("a deployment whose step is finer than the noise is refused by the plant: its scores would be equations in the secret key", async () => {
  using loop = await openLoop(rounded);
  const { params, replies } = rounded;
  const open = (form: { bits: number; step: number }) =>
    codeOf(async () => {
      using opened = await openDecryptor(params, loop.keys.secretKey, F, form);
      return opened.memoryBytes();
    });
  expect(await open(replies!)).toBe("accepted");
  for (const form of [
    { ...replies!, step: replies!.step / 2 },
    { ...replies!, step: 1 },
    { bits: replies!.bits - 1, step: replies!.step },
    { bits: 20, step: 1 },
  ])
    expect(await open(form)).toBe("DOCUMENT_INVALID");
});

it("replies of another length, another form or with padding are refused; so are secret keys of others, and after disposal no key is left", async () => {
  using loop = await openLoop(rounded);
  const { params, replies } = rounded;
  const [reply] = loop.reply(head, [loop.frame(windows(2))], [0, 1]);
  const whole = encodeReply(params, { c0: new Uint32Array(2 * params.n), c1: new Uint32Array(2 * params.n) }, [0, 1], F);
  const decryptor = await openDecryptor(params, loop.keys.secretKey, F, replies);
  for (const wrong of [reply!.subarray(1), whole, new Uint8Array(0)])
    expect(await codeOf(() => decryptor.decrypt(wrong, [0, 1]))).toBe("FRAME_WRONG_LENGTH");
  expect(await codeOf(() => decryptor.decrypt(reply!.with(-1, 255), [0, 1]))).toBe("RESIDUE_OUT_OF_RANGE");
  expect(await codeOf(() => decryptor.decrypt(reply!, [1, 0]))).toBe("LANES_INVALID");
  const right = decryptor.decrypt(reply!, [0, 1]);
  expect(right).toEqual(loop.decryptor.decrypt(reply!, [0, 1]));
  decryptor[Symbol.dispose]();
  expect(decryptor.decrypt(reply!, [0, 1])).not.toEqual(right);
  for (const key of [loop.keys.publicKey, loop.keys.secretKey.subarray(1), new Uint8Array(0)])
    expect(await codeOf(() => openDecryptor(params, key, F, replies))).toBe("KEY_MISMATCH");
});
