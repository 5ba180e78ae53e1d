import type { LaneEntry } from "@smile/he/lanes";
import { scorePosition } from "@smile/he/lanes";
import { type PlanRequest, plan } from "@smile/he/planner";
import { decodeReply } from "@smile/he/wire";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type EncryptedLoop, openLoop, plainScore } from "./encrypted-loop.ts";
import { noiseOf, openPhaseReader } from "./phase-reader.ts";

/**
 * The property that the product rests on: heads and windows at their extremes, through real encryption, at the largest number of
 * merges; every decrypted score is the integer dot product, and the noise is under the bound that the plan states.
 */

const SHAPES = {
  constant: () => 1,
  alternating: (f: number) => (f % 2 === 0 ? 1 : -1),
  "a single weight": (f: number) => (f === 0 ? 1 : 0),
  geometric: (f: number) => 2 ** -f,
  chirp: (f: number) => Math.sin(1 + f * f),
} as const;

/** What a window is filled with; `largest` is the bound of a feature. */
const WINDOWS = {
  "the largest score": (w: number, largest: number) => (w < 0 ? -largest : largest),
  "the smallest score": (w: number, largest: number) => (w < 0 ? largest : -largest),
  "largest features": (_: number, largest: number) => largest,
  "smallest features": (_: number, largest: number) => -largest,
  zeros: () => 0,
} as const;
const windowKind = fc.constantFrom(...(Object.keys(WINDOWS) as (keyof typeof WINDOWS)[]));

type Case = Pick<PlanRequest, "featureCount" | "featureBits" | "keyMode" | "maxMerges" | "modelPrivacy"> & {
  readonly largestWeight: number;
};
const base = { featureCount: 64, featureBits: 8, largestWeight: 1023, keyMode: "public", maxMerges: 32, modelPrivacy: "compact" } as const;
const CASES: readonly [string, Case][] = [
  ["public, 32 gateways of one lane each", base],
  ["public, sanitised, 64 gateways of one lane each", { ...base, maxMerges: 64, modelPrivacy: "sanitised" }],
  ["public, F = 347, which does not divide N", { ...base, featureCount: 347, maxMerges: 5 }],
  ["public, one window that fills the ciphertext", { ...base, featureCount: 2048, maxMerges: 1, largestWeight: 255, featureBits: 6 }],
  ["public, lanes of a single feature", { ...base, featureCount: 1, featureBits: 12, maxMerges: 40 }],
  ["symmetric, compact", { ...base, keyMode: "symmetric", maxMerges: 1 }],
  ["symmetric, sanitised, F = 61", { ...base, featureCount: 61, keyMode: "symmetric", maxMerges: 1, modelPrivacy: "sanitised" }],
];

describe.each(CASES)("%s", (_, { largestWeight, ...kind }) => {
  const { featureCount, featureBits, maxMerges } = kind;
  it.each(Object.entries(SHAPES))(
    "a head with weights of the shape '%s' scores exactly, its noise under the stated bound",
    async (_shape, shape) => {
      const weights = Array.from({ length: featureCount }, (_, f) => Math.round(shape(f) * largestWeight));
      const head = { weights: [weights], bias: [-largestWeight] };
      const planned = plan({ ...kind, heads: [head] });
      const { params, lanes, scoreBound, noiseBits } = planned;
      // The stated bound is on |score + t * noise|, flooding included.
      const noiseBound = (2 ** noiseBits - scoreBound) / params.t;
      const largest = 2 ** (featureBits - 1) - 1;
      using loop = await openLoop(planned);
      using reader = await openPhaseReader(params, loop.keys.secretKey);
      const occupied = Array.from({ length: Math.min(lanes, Math.max(maxMerges, 64)) }, (_, lane) => lane);
      fc.assert(
        fc.property(fc.array(windowKind, { minLength: 1, maxLength: 5 }), (kinds) => {
          const entries = occupied.map((lane) => {
            const fill = WINDOWS[kinds[lane % kinds.length]!];
            return { lane, features: Int32Array.from(weights, (w) => fill(w, largest)) };
          });
          const frames = framesOf(loop, entries, planned.maxMerges);
          const [reply] = loop.reply(head, frames, occupied);
          const expected = entries.map(({ features }) => plainScore(head, 0, features));
          expect(loop.decryptor.decrypt(reply!, occupied)).toEqual(expected);
          const phases = reader.phases(decodeReply(params, reply!, occupied, featureCount), false);
          occupied.forEach((lane, i) => {
            const { message, noise } = noiseOf(phases[scorePosition(lane, featureCount)]!, params.t);
            expect(message).toBe(expected[i]);
            expect(Math.abs(noise)).toBeLessThanOrEqual(noiseBound);
          });
        }),
        { numRuns: 4, seed: 20 },
      );
    },
  );
});

/** Exactly `merges` frames, over which the windows are dealt like cards; frames without a window are encrypted all the same. */
function framesOf(loop: EncryptedLoop, entries: readonly LaneEntry[], merges: number): Uint8Array[] {
  return Array.from({ length: merges }, (_, k) => loop.frame(entries.filter((_entry, i) => i % merges === k)));
}
