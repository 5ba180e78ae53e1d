import { PipelineError } from "@smile/errors/pipeline-error";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scorePosition } from "../src/lanes.ts";
import type { Params } from "../src/params.ts";
import { plan } from "../src/planner.ts";
import { leastReplyBits, noiseLeft, roundingBound } from "../src/replies.ts";
import { residueAt, setResidue } from "../src/residues.ts";
import { decodeSwitchedReply, encodeSwitchedReply, switchedReplyLength } from "../src/switched-reply.ts";
import { replyLength } from "../src/wire.ts";
import { seededRandom } from "./arbitrary-heads.ts";

const head = (largest: number, F: number) => ({
  weights: [Array.from({ length: F }, (_, f) => (f % 2 === 0 ? largest : -largest))],
  bias: [3],
});
const request = { featureBits: 8, keyMode: "public", maxMerges: 4 } as const;
const PARAMS: Params[] = [
  plan({ ...request, featureCount: 64, heads: [head(1023, 64)], modelPrivacy: "compact" }).params,
  plan({ ...request, featureCount: 1, heads: [head(1, 1)], modelPrivacy: "compact" }).params,
  // q of 60 bits does not fit a double; t of 34 bits does not fit a word.
  plan({ ...request, featureCount: 64, heads: [head(1023, 64)], modelPrivacy: "sanitised" }).params,
  plan({ ...request, featureCount: 1, heads: [{ weights: [[1]], bias: [2 ** 33] }], modelPrivacy: "compact" }).params,
];

function randomResidues(seed: number, { n, q }: Params): Uint32Array {
  const random = seededRandom(seed);
  const residues = new Uint32Array(2 * n);
  for (let i = 0; i < n; i++)
    setResidue(residues, i, (BigInt(Math.floor(random() * 2 ** 32)) << 32n) + BigInt(Math.floor(random() * 2 ** 32)), q);
  // The ends, and where rounding turns over.
  [0n, 1n, q - 1n, q / 2n, q / 2n + 1n, 2n ** 32n - 1n, 2n ** 32n].forEach((value, i) => {
    setResidue(residues, i, value, q);
  });
  return residues;
}

it.each(PARAMS)(
  "each residue is c (q - 1) / t scaled to the small modulus, rounded to half a unit and 2^-11, for N = $n, q = $q, t = $t",
  (params) => {
    const { n, q, t } = params;
    const k = (q - 1n) / BigInt(t);
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 41 }), fc.integer(), (bits, seed) => {
        const [c0, c1] = [randomResidues(seed, params), randomResidues(seed + 1, params)];
        const F = 1;
        const lanes = [0, 1, 2, 3, 4, 5, 6, n - 1];
        const bytes = encodeSwitchedReply(params, bits, { c0, c1 }, lanes, F);
        expect(bytes.length).toBe(switchedReplyLength(params, bits, lanes.length));
        const decoded = decodeSwitchedReply(params, bits, bytes, lanes, F);
        const modulus = 1n << BigInt(bits);
        const check = (value: number, residue: bigint) => {
          // Exactly: |value q - (residue k mod q) Q| modulo Q q, against (1/2 + 2^-11) q.
          const off = (((BigInt(value) * q - ((residue * k) % q) * modulus) % (modulus * q)) + modulus * q) % (modulus * q);
          const distance = off < modulus * q - off ? off : modulus * q - off;
          if (distance * 2048n > 1025n * q) throw new Error(`residue ${residue} became ${value}`);
        };
        decoded.c1.forEach((value, i) => {
          check(value, residueAt(c1, i));
        });
        lanes.forEach((lane, i) => {
          check(decoded.c0[i]!, residueAt(c0, scorePosition(lane, F)));
        });
      }),
      { numRuns: 12, seed: 63 },
    );
  },
);

it("refuses other lengths, padding and lanes", () => {
  const [params] = PARAMS as [Params];
  const codeOf = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      if (error instanceof PipelineError) return error.code;
    }
    return "accepted";
  };
  const ciphertext = { c0: randomResidues(1, params), c1: randomResidues(2, params) };
  const bytes = encodeSwitchedReply(params, 27, ciphertext, [0, 3], 64);
  const decode = (changed: Uint8Array, lanes: readonly number[]) => codeOf(() => decodeSwitchedReply(params, 27, changed, lanes, 64));
  expect(decode(bytes, [0, 3])).toBe("accepted");
  for (const wrong of [bytes.subarray(1), Uint8Array.of(...bytes, 0), new Uint8Array(0)])
    expect(decode(wrong, [0, 3])).toBe("FRAME_WRONG_LENGTH");
  expect(decode(bytes, [0, 3, 4])).toBe("FRAME_WRONG_LENGTH");
  expect(decode(bytes.with(-1, 255), [0, 3])).toBe("RESIDUE_OUT_OF_RANGE");
  for (const lanes of [
    [0, 32],
    [3, 0],
    [0, 0.5],
    [-1, 0],
  ]) {
    expect(decode(bytes, lanes)).toBe("LANES_INVALID");
    expect(codeOf(() => encodeSwitchedReply(params, 27, ciphertext, lanes, 64))).toBe("LANES_INVALID");
  }
});

it("at 32 lanes a score takes at most 205 bytes at 25 bits, and exact scores at most 70 hundredths of whole replies", () => {
  const asked = { ...request, featureCount: 64, heads: [head(511, 64)], modelPrivacy: "compact" } as const;
  const exact = plan({ ...asked, replyStep: 1 });
  const whole = replyLength(plan(asked).params, 32);
  expect(switchedReplyLength(exact.params, exact.replies!.bits, 32) / whole).toBeLessThan(0.7);
  expect(switchedReplyLength(exact.params, 25, 32) / 32).toBeLessThan(205);
});

it("the bound on rounding is 23 deviations of what it is for uniform residues, and below the worst case", () => {
  for (const n of [2048, 4096]) {
    expect(roundingBound(n)).toBeLessThan((1 + n) / 2);
    expect(roundingBound(n) / Math.sqrt(n / 18)).toBeGreaterThan(23);
    // Hoeffding by hand: n terms in [-1, 1] * 0.5 of variance proxy 2/3, two tails of 2^-130 together.
    expect(2 * Math.exp(-((roundingBound(n) - 0.5) ** 2) / (2 * (2 / 3) * (n / 4)))).toBeLessThanOrEqual(2 ** -130 * 1.5);
  }
});

it("the fewest bits are those with which rounding stays within half a step", () => {
  fc.assert(
    fc.property(fc.integer({ min: 8, max: 40 }), fc.integer({ min: 0, max: 20 }), (tBits, log) => {
      const [params, step] = [{ n: 2048, t: 2 ** tBits }, 2 ** log];
      const bits = leastReplyBits(params, step);
      if (bits === undefined) expect(noiseLeft(params, { bits: 41, step })).toBeLessThanOrEqual(0);
      else {
        expect(noiseLeft(params, { bits, step })).toBeGreaterThan(0);
        if (bits > 1) expect(noiseLeft(params, { bits: bits - 1, step })).toBeLessThanOrEqual(0);
      }
    }),
    { numRuns: 500, seed: 64 },
  );
});
