import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nasaScore, precisionRecall, remainingLifeMetrics, rmse, rmseCapped, rocAuc } from "../../src/training/metrics.ts";

describe("metrics equal values computed by hand", () => {
  it("root mean squared error, capped and not", () => {
    expect(rmse([1, 2, 6], [1, 4, 3])).toBeCloseTo(Math.sqrt(13 / 3), 12);
    expect(rmseCapped([130, -3], [145, 4], 125)).toBeCloseTo(Math.sqrt(16 / 2), 12);
    expect(rmse([], [])).toBeNaN();
  });

  it("NASA's score, dearer when the prediction is late", () => {
    expect(nasaScore([23, 10], [10, 20])).toBeCloseTo(Math.exp(1.3) - 1 + Math.exp(10 / 13) - 1, 12);
    expect(nasaScore([20], [10])).toBeGreaterThan(nasaScore([10], [20]));
    expect(nasaScore([7], [7])).toBe(0);
  });

  it("area under the ROC curve, ties counting half", () => {
    const positive = [true, false, true, false];
    expect(rocAuc([4, 3, 2, 1], positive)).toBe(0.75);
    expect(rocAuc([1, 1, 1, 1], positive)).toBe(0.5);
    expect(rocAuc([2, 1, 1, 0], positive)).toBe(0.875);
    expect(rocAuc([1, 2], [true, true])).toBeNaN();
  });

  it("precision and recall at a threshold that counts as called", () => {
    expect(precisionRecall([0.9, 0.5, 0.4, 0.1], [true, false, true, false], 0.5)).toEqual({ precision: 0.5, recall: 0.5 });
    expect(precisionRecall([0.1], [true], 0.5)).toEqual({ precision: Number.NaN, recall: 0 });
  });

  it("remaining life: limited to the cap, true life beyond it, failing within the horizon", () => {
    const found = remainingLifeMetrics([200, 20, 31, -5], [145, 30, 28, 0], { cap: 125, horizon: 30 });
    expect(found.rmse).toBeCloseTo(Math.sqrt((400 + 100 + 9 + 0) / 4), 12);
    expect(found.rmseCapped).toBeCloseTo(Math.sqrt((0 + 100 + 9 + 0) / 4), 12);
    expect(found).toMatchObject({ auc: 1, precision: 1, recall: 2 / 3 });
  });
});

it("the area under the curve is the share of pairs in the right order", () => {
  const samples = fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.boolean()), { minLength: 2, maxLength: 30 });
  fc.assert(
    fc.property(samples, (pairs) => {
      const yes = pairs.filter(([, p]) => p).map(([s]) => s);
      const no = pairs.filter(([, p]) => !p).map(([s]) => s);
      const wins = yes.flatMap((y) => no.map((n) => (y > n ? 1 : y === n ? 0.5 : 0)));
      const share = wins.reduce((sum: number, win) => sum + win, 0) / wins.length;
      const found = rocAuc(
        pairs.map(([s]) => s),
        pairs.map(([, p]) => p),
      );
      if (wins.length === 0) expect(found).toBeNaN();
      else expect(found).toBeCloseTo(share, 12);
    }),
    { seed: 1, numRuns: 200 },
  );
});
