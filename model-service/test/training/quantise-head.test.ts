import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { integerScores, quantiseHead } from "../../src/training/quantise-head.ts";

const weight = fc.double({ min: -1e3, max: 1e3, noNaN: true });
const cases = fc.integer({ min: 1, max: 12 }).chain((width) =>
  fc.record({
    weights: fc.array(fc.array(weight, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 3 }),
    steps: fc.array(fc.double({ min: 1e-3, max: 1, noNaN: true }), { minLength: width, maxLength: width }),
    bias: fc.array(weight, { minLength: 3, maxLength: 3 }),
    bits: fc.integer({ min: 2, max: 12 }),
    weightBits: fc.integer({ min: 2, max: 14 }),
    choice: fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: width, maxLength: width }),
  }),
);
const quantise = ({
  weights,
  steps,
  bias,
  bits,
  weightBits,
}: { [K in "weights"]: number[][] } & { steps: number[]; bias: number[]; bits: number; weightBits: number }) =>
  quantiseHead({ weights, bias: bias.slice(0, weights.length) }, Float64Array.from(steps), { bits, weightBits });

describe("a quantised head", () => {
  it("never scores beyond its worst case, and reaches it", () => {
    fc.assert(
      fc.property(cases, (one) => {
        const head = quantise(one);
        const largest = 2 ** (one.bits - 1) - 1;
        const inputs = [one.choice.map((x) => Math.round(x * largest))];
        head.weights.forEach((weights, k) => {
          inputs.push(weights.map((w) => (w * (head.bias[k]! < 0 ? -1 : 1) < 0 ? -largest : largest)));
        });
        const scores = inputs.flatMap((x) => integerScores(head, x).map(Math.abs));
        expect(Math.max(...scores)).toBe(head.worstCase);
      }),
      { seed: 6, numRuns: 300 },
    );
  });

  it("keeps every weight within its bits and every score within the rounding of its parts", () => {
    fc.assert(
      fc.property(cases, (one) => {
        const head = quantise(one);
        const largest = 2 ** (one.bits - 1) - 1;
        expect(head.weights.flat().every((w) => Number.isInteger(w) && Math.abs(w) <= 2 ** (one.weightBits - 1) - 1)).toBe(true);
        const x = one.choice.map((value) => Math.round(value * largest));
        integerScores(head, x).forEach((score, k) => {
          const real = one.weights[k]!.reduce((sum, w, f) => sum + w * one.steps[f]! * x[f]!, one.bias[k]!);
          const bound = (x.reduce((sum, value) => sum + Math.abs(value), 0) + 1) * head.scale * 0.5;
          expect(Math.abs(score * head.scale - real)).toBeLessThanOrEqual(bound * (1 + 1e-9) + 1e-9);
        });
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  it("has no negative zero and a scale even when every weight is zero", () => {
    const head = quantiseHead({ weights: [[0, -0]], bias: [-0] }, Float64Array.of(1, 1), { bits: 8, weightBits: 11 });
    expect(head).toEqual({ outputs: 1, weights: [[0, 0]], bias: [0], scale: 1, worstCase: 0 });
  });

  it("keeps a bias that dwarfs the weights, without letting it blow up the integers", () => {
    const head = quantiseHead({ weights: [[1e-30, 0]], bias: [-50] }, Float64Array.of(1, 1), { bits: 8, weightBits: 11 });
    expect(head.bias[0]! * head.scale).toBeCloseTo(-50, 3);
    expect(head.worstCase).toBeLessThanOrEqual(1023 * 127 * 2);
  });
});
