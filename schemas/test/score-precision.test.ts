import fc from "fast-check";
import { expect, it } from "vitest";
import { largestStep, riskChange } from "../src/score-precision.ts";

const card = fc.record({
  scale: fc.double({ min: 1e-9, max: 10, noNaN: true }),
  calibration: fc.option(
    fc.record({ slope: fc.double({ min: -5, max: 5, noNaN: true }), intercept: fc.double({ min: -9, max: 9, noNaN: true }) }),
  ),
  link: fc.constantFrom("identity" as const, "logistic" as const),
  precision: fc.double({ min: 1e-6, max: 10, noNaN: true }),
});

const riskOf = (score: number, { scale, calibration, link }: Omit<Parameters<typeof largestStep>[0], "precision">) => {
  const { slope, intercept } = calibration ?? { slope: 1, intercept: 0 };
  const x = slope * score * scale + intercept;
  return link === "logistic" ? 1 / (1 + Math.exp(-x)) : x;
};

it("scores less than the largest step apart have risks within the precision, and with twice the step the bound is beyond it", () => {
  fc.assert(
    fc.property(card, fc.integer({ min: -(2 ** 24), max: 2 ** 24 }), fc.double({ min: -1, max: 1, noNaN: true }), (asked, score, part) => {
      const step = largestStep(asked, 2 ** 30);
      expect(Number.isInteger(Math.log2(step)) && step >= 1 && step <= 2 ** 30).toBe(true);
      if (step > 1) {
        const apart = Math.abs(riskOf(score, asked) - riskOf(score + part * step, asked));
        expect(apart).toBeLessThanOrEqual(asked.precision * (1 + 1e-6) + 1e-12 * Math.abs(riskOf(score, asked)));
        expect(riskChange(step, asked)).toBeLessThanOrEqual(asked.precision);
      }
      if (step < 2 ** 29) expect(riskChange(2 * step, asked)).toBeGreaterThan(asked.precision);
    }),
    { numRuns: 500, seed: 67 },
  );
});

it("a card that states no precision has exact scores, and none has steps beyond the limit", () => {
  const asked = { scale: 1e-6, calibration: null, link: "logistic" } as const;
  expect(largestStep(asked, 2 ** 20)).toBe(1);
  expect(largestStep({ ...asked, precision: 1 }, 2 ** 20)).toBe(2 ** 20);
  expect(largestStep({ ...asked, precision: 1 }, 0)).toBe(1);
});
