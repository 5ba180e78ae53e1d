import { checkPrimeSync } from "node:crypto";
import { isPipelineError } from "@smile/errors/pipeline-error";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ERROR_VARIANCE, TERNARY_VARIANCE } from "../src/noise.ts";
import { MAX_Q_BITS, residueBits } from "../src/params.ts";
import { assess, type IntegerHead, type PlanRequest, plan, sanitiserBound } from "../src/planner.ts";
import { leastReplyBits, roundingBound } from "../src/replies.ts";
import { planRequest } from "./arbitrary-heads.ts";

const request: PlanRequest = {
  featureCount: 64,
  featureBits: 8,
  heads: [{ weights: [Array.from({ length: 64 }, () => 1023)], bias: [0] }],
  keyMode: "public",
  maxMerges: 32,
  modelPrivacy: "compact",
};

function refusalOf<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return error as Error;
  }
}

/** The worst score of a request in exact arithmetic. */
function worstScore({ heads, featureBits }: PlanRequest): bigint {
  const largest = BigInt(2 ** (featureBits - 1) - 1);
  const scores = heads.flatMap(({ weights, bias }) =>
    weights.map((w, k) => Array.from(w).reduce((sum, x) => sum + largest * BigInt(Math.abs(x)), BigInt(Math.abs(bias[k]!)))),
  );
  return scores.toSorted((a, b) => (a < b ? -1 : 1)).at(-1)!;
}

/** Standard deviation of a reply's noise before flooding, in units of t, by the textbook formula for the largest output. */
function noiseDeviation({ heads, keyMode, maxMerges }: PlanRequest, n: number): number {
  const perEncryption = ERROR_VARIANCE * (1 + 2 * n * TERNARY_VARIANCE);
  const norms2 = heads.flatMap(({ weights }) => weights.map((w) => Array.from(w).reduce((sum, x) => sum + x * x, 0)));
  const product = Math.max(...norms2) * (keyMode === "public" ? maxMerges * perEncryption : ERROR_VARIANCE);
  return Math.sqrt(product + perEncryption);
}

describe("planner", () => {
  it("accepts only what is secure, exact and flooded, and refuses the rest with the numbers", () => {
    const seen = { accepted: 0, refused: 0 };
    fc.assert(
      fc.property(planRequest, (from) => {
        const planned = refusalOf(() => plan(from));
        if (planned instanceof Error) {
          seen.refused += 1;
          if (!isPipelineError(planned, "PLAN_REFUSED")) throw planned;
          expect(planned.message).toMatch(/2\^\d/);
          expect(planned.facts).toHaveProperty("tBits");
          return;
        }
        seen.accepted += 1;
        const { params, floodBits, marginBits, noiseBits, scoreBound, lanes } = planned;
        const { n, q, t } = params;
        expect(BigInt(scoreBound)).toBe(worstScore(from));
        expect(t / 2).toBeGreaterThan(scoreBound);
        expect(q % BigInt(2 * n)).toBe(1n);
        expect(q % BigInt(t)).toBe(1n);
        expect(checkPrimeSync(q)).toBe(true);
        expect(residueBits(params)).toBeLessThanOrEqual(MAX_Q_BITS.get(n)!);
        expect(residueBits(params), "the wire codec takes 33 bits and more").toBeGreaterThanOrEqual(33);
        expect(marginBits).toBeGreaterThan(0);
        expect(floodBits).toBeGreaterThanOrEqual(from.modelPrivacy === "sanitised" ? 30 : 8);
        expect(lanes).toBe(Math.floor(n / from.featureCount));
        // What the plan states as its bound is no less than 13.3 standard deviations, score and flooding included, and below q / 2.
        const stated = 2 ** noiseBits;
        expect(stated).toBeLessThan(Number(q) / 2);
        expect(stated).toBeGreaterThan(scoreBound + t * (13.3 * noiseDeviation({ ...from, ...planned }, n) + 2 ** floodBits));
        // Weights travel as 32-bit integers.
        for (const { weights } of from.heads)
          for (const w of weights) for (const x of Array.from(w)) expect(Math.abs(x)).toBeLessThan(2 ** 31);
        // The same question, asked again of the finished plan.
        expect(assess(from, params)).toEqual(planned);
        for (const head of from.heads) expect(assess({ ...from, heads: [head] }, params).floodBits).toBeGreaterThanOrEqual(floodBits);
      }),
      { numRuns: 120, seed: 1 },
    );
    expect(seen.accepted).toBeGreaterThan(20);
    expect(seen.refused).toBeGreaterThan(20);
  });

  it("gives t one more bit exactly when the worst score reaches t / 2", () => {
    for (let bits = 4; bits <= 24; bits++) {
      const head = (worst: number) => ({ weights: [[1]], bias: [worst - 1] });
      const of = (worst: number) => plan({ ...request, featureCount: 1, featureBits: 2, heads: [head(worst)], maxMerges: 1 }).params.t;
      expect(of(2 ** bits - 1)).toBe(2 ** (bits + 1));
      expect(of(2 ** bits)).toBe(2 ** (bits + 2));
    }
  });

  it("serves the head of the issue at N = 2048, and asks for N = 4096 when the model is to be sanitised", () => {
    expect(plan(request).params.n).toBe(2048);
    const sanitised = plan({ ...request, modelPrivacy: "sanitised" });
    expect(sanitised.params.n).toBe(4096);
    expect(sanitised.floodBits).toBeGreaterThanOrEqual(30);
  });

  it("takes the smallest ring that has room for so many windows as are asked for, and refuses what none has room for", () => {
    expect(plan({ ...request, leastLanes: 32 })).toEqual(plan(request));
    const wide = plan({ ...request, leastLanes: 33 });
    expect(wide).toMatchObject({ lanes: 64, params: { n: 4096 } });
    expect(assess(request, wide.params), "and so does a service that takes it up").toEqual(wide);
    const refused = refusalOf(() => plan({ ...request, leastLanes: 65 }));
    expect(refused).toMatchObject({ code: "PLAN_REFUSED", message: expect.stringContaining("room for 64 windows, not 65") });
    expect(refusalOf(() => plan({ ...request, leastLanes: 0.5 }))).toMatchObject({ code: "PLAN_REFUSED", facts: { leastLanes: 0.5 } });
  });

  it("plans one merge in symmetric mode, whatever is asked for, and a smaller prime with it", () => {
    const symmetric = plan({ ...request, keyMode: "symmetric" });
    expect(symmetric.maxMerges).toBe(1);
    expect(symmetric.params.q).toBeLessThan(plan(request).params.q);
  });

  it("plans switched replies that are right to their step, smaller than whole ones and no less flooded, or whole ones", () => {
    let switched = 0;
    fc.assert(
      fc.property(planRequest, fc.integer({ min: 0, max: 12 }), (from, log) => {
        const step = 2 ** log;
        const without = refusalOf(() => plan(from));
        const planned = refusalOf(() => plan({ ...from, replyStep: step }));
        if (planned instanceof Error) {
          if (!isPipelineError(planned, "PLAN_REFUSED")) throw planned;
          return;
        }
        const { params, floodBits, scoreBound, noiseBits, replies } = planned;
        const { n, q, t } = params;
        expect(scoreBound + step / 2, "rounding must not lead around").toBeLessThan(t / 2);
        if (!(without instanceof Error) && step < 4) {
          expect(n, "the ring is that of whole replies").toBe(without.params.n);
          expect(floodBits).toBeGreaterThanOrEqual(without.floodBits);
        }
        if (replies === undefined) return;
        switched += 1;
        const { bits } = replies;
        expect(replies.step).toBe(step);
        expect(bits).toBeLessThan(residueBits(params));
        expect(bits).toBeLessThanOrEqual(41);
        // In units of the score: noise under q, the message's own share, and the rounding of N + 1 residues.
        const worst = (2 ** noiseBits - scoreBound) / Number(q) + scoreBound / Number(q) + (roundingBound(n) * t) / 2 ** bits;
        expect(worst).toBeLessThanOrEqual(step / 2);
        expect(floodBits).toBeGreaterThanOrEqual(from.modelPrivacy === "sanitised" ? 30 : 8);
        // A service takes up what was planned; with fewer bits there is less room for flooding, and in the end none.
        expect(assess(from, params, replies)).toEqual(planned);
        const fewer = refusalOf(() => assess(from, params, { step, bits: bits - 1 }));
        if (!(fewer instanceof Error)) expect(fewer.floodBits).toBeLessThan(floodBits);
        const tooFew = refusalOf(() => assess(from, params, { step, bits: leastReplyBits(params, step)! - 1 }));
        expect(isPipelineError(tooFew, "PLAN_REFUSED") && tooFew.facts).toMatchObject({ replyStep: step });
      }),
      { numRuns: 40, seed: 66 },
    );
    expect(switched).toBeGreaterThan(10);
    // Exact scores of 34 bits would need more than 41: they come whole.
    const large = { ...request, featureCount: 1, heads: [{ weights: [[1]], bias: [2 ** 33] }] };
    expect(plan({ ...large, replyStep: 1 })).toEqual(plan(large));
    expect(plan({ ...large, replyStep: 64 }).replies?.bits).toBeLessThanOrEqual(41);
  });

  it.each([0, -1, 3, 0.5, Number.NaN])("refuses %d as the step of replies", (step) => {
    expect(
      isPipelineError(
        refusalOf(() => plan({ ...request, replyStep: step })),
        "PLAN_REFUSED",
      ),
    ).toBe(true);
  });

  it("takes a head into given parameters only while they have room for its scores and its noise", () => {
    const { params } = plan(request);
    const taken = (head: Partial<IntegerHead>) => {
      const { weights = [Array.from({ length: 64 }, () => 0)], bias = [0] } = head;
      return !(refusalOf(() => assess({ ...request, heads: [{ weights, bias }] }, params)) instanceof Error);
    };
    const constant = (weight: number) => [Array.from({ length: 64 }, () => weight)];
    expect(taken({ weights: constant(1023) })).toBe(true);
    expect(taken({ weights: constant(2046) })).toBe(false);
    expect(taken({ weights: [[1, 2]] })).toBe(false);
    expect(taken({ bias: [params.t / 2] })).toBe(false);
    expect(taken({ bias: [params.t / 2 - 1] })).toBe(true);
  });

  it("refuses given parameters that a head has no room in", () => {
    const { params } = plan(request);
    expect(() => assess({ ...request, featureBits: 12 }, params)).toThrow(/PLAN_REFUSED/);
    expect(() => assess({ ...request, modelPrivacy: "sanitised" }, params)).toThrow(/PLAN_REFUSED/);
  });

  it.each<[string, Partial<PlanRequest>]>([
    ["no features", { featureCount: 0 }],
    ["a fraction of a feature", { featureCount: 1.5 }],
    ["one bit per feature", { featureBits: 1 }],
    ["17 bits per feature", { featureBits: 17 }],
    ["no merge at all", { maxMerges: 0 }],
    ["no head", { heads: [] }],
    ["a head without outputs", { heads: [{ weights: [], bias: [] }] }],
    ["an output without its bias", { heads: [{ weights: [Array.from({ length: 64 }, () => 1)], bias: [] }] }],
    ["a weight vector of another width", { heads: [{ weights: [[1]], bias: [0] }] }],
    ["a weight that is no integer", { heads: [{ weights: [Array.from({ length: 64 }, () => 0.5)], bias: [0] }] }],
    ["a weight that is not a number", { heads: [{ weights: [Array.from({ length: 64 }, () => Number.NaN)], bias: [0] }] }],
    ["scores beyond 2^50", { heads: [{ weights: [Array.from({ length: 64 }, () => 2 ** 40)], bias: [0] }] }],
    [
      "more features than the largest ring",
      { featureCount: 5000, heads: [{ weights: [Array.from({ length: 5000 }, () => 1)], bias: [0] }] },
    ],
  ])("refuses %s", (_, change) => {
    const refused = refusalOf(() => plan({ ...request, ...change }));
    expect(isPipelineError(refused, "PLAN_REFUSED")).toBe(true);
  });

  it("bounds the sanitiser's noise at about 13.4 standard deviations of a fresh encryption", () => {
    for (const n of [2048, 4096]) {
      const deviation = Math.sqrt(ERROR_VARIANCE * (1 + 2 * n * TERNARY_VARIANCE));
      expect(sanitiserBound(n) / deviation).toBeGreaterThan(13.4);
      expect(sanitiserBound(n) / deviation).toBeLessThan(14.5);
    }
  });
});
