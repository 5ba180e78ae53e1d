import fc from "fast-check";
import { expect, it } from "vitest";
import { median, quantile, spreadOf } from "../harness/statistics.ts";

const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 });

it("has the middle of an odd count, and the mean of the two in the middle of an even one", () => {
  expect(median([5, 1, 3])).toBe(3);
  expect(median([5, 1, 3, 4])).toBe(3.5);
  expect(() => median([])).toThrow(RangeError);
});

it("orders the quartiles, within the numbers, whatever their order", () => {
  fc.assert(
    fc.property(numbers, (list) => {
      const { q1, median: middle, q3, mad } = spreadOf(list);
      const ordered = [Math.min(...list), q1, middle, q3, Math.max(...list)];
      for (let i = 1; i < ordered.length; i++) expect(ordered[i]! - ordered[i - 1]!).toBeGreaterThanOrEqual(-1e-9);
      expect(mad).toBeGreaterThanOrEqual(0);
      expect(spreadOf(list.toReversed())).toEqual({ q1, median: middle, q3, mad });
    }),
    { seed: 1 },
  );
});

it("does not follow one wild number", () => {
  const quiet = [10, 11, 12, 13, 14];
  const wild = [...quiet.slice(0, 4), 1e9];
  expect(spreadOf(wild).median).toBe(12);
  expect(spreadOf(wild).mad).toBe(1);
  expect(quantile(wild, 0.75)).toBe(13);
});
