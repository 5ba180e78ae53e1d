import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Settlement } from "../src/settlement.ts";

/** Offsets with gaps, and an order in which they are settled, each up to twice. */
const run = fc
  .array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 60 })
  .map((steps) => {
    let offset = 9;
    return steps.map((step) => {
      offset += step;
      return offset;
    });
  })
  .chain((offsets) =>
    fc.record({
      offsets: fc.constant(offsets),
      settles: fc.array(fc.constantFrom(...offsets), { maxLength: 120 }),
      // How many deliveries happen before each settle.
      pace: fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 20 }),
    }),
  );

describe("settlement", () => {
  it("never commits past an unsettled record, never goes back, and forgets none, in any order of settling", () => {
    fc.assert(
      fc.property(run, ({ offsets, settles, pace }) => {
        const settlement = new Settlement(10);
        const settled = new Set<number>();
        let delivered = 0;
        let before = settlement.watermark;
        const check = () => {
          const open = offsets.slice(0, delivered).filter((offset) => !settled.has(offset));
          expect(settlement.watermark).toBe(open[0] ?? (delivered === 0 ? 10 : offsets[delivered - 1]! + 1));
          expect(settlement.watermark).toBeGreaterThanOrEqual(before);
          expect(settlement.unsettled).toBe(open.length);
          before = settlement.watermark;
        };
        settles.forEach((offset, i) => {
          for (let n = pace[i % pace.length]!; n > 0 && delivered < offsets.length; n--) settlement.deliver(offsets[delivered++]!);
          // A settle of a record that was not delivered yet must not count for it later.
          if (offsets.indexOf(offset) < delivered) settled.add(offset);
          settlement.settle(offset);
          check();
        });
      }),
      { seed: 20_261_122, numRuns: 300 },
    );
  });

  it("commits everything once everything is settled", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([5, 6, 7, 9, 12, 13], { minLength: 6 }), (order) => {
        const settlement = new Settlement(5);
        for (const offset of [5, 6, 7, 9, 12, 13]) settlement.deliver(offset);
        for (const offset of order) settlement.settle(offset);
        expect(settlement.watermark).toBe(14);
        expect(settlement.unsettled).toBe(0);
      }),
      { seed: 20_261_122 },
    );
  });

  it("refuses a delivery out of order", () => {
    const settlement = new Settlement(5);
    settlement.deliver(7);
    expect(() => settlement.deliver(7)).toThrow(RangeError);
    expect(() => new Settlement(5).deliver(4)).toThrow(RangeError);
  });
});
