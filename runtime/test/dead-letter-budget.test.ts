import fc from "fast-check";
import { expect, it } from "vitest";
import { DeadLetterBudget } from "../src/dead-letter-budget.ts";

const HOUR_MS = 3_600_000;

it("keeps letters up to the allowance, counts the rest, and fills again evenly", () => {
  const budget = new DeadLetterBudget({ perHour: 60 });
  const kept = (nowMs: number, letters: number) => Array.from({ length: letters }, () => budget.allows("a", nowMs)).filter(Boolean).length;
  expect(kept(0, 100)).toBe(60);
  expect(budget.suppressed).toBe(40);
  expect(kept(HOUR_MS / 2, 100)).toBe(30);
  expect(kept(10 * HOUR_MS, 100)).toBe(60);
  expect(budget.suppressed).toBe(150);
});

it("gives each plant its own, so that one plant's refusals hide nobody else's", () => {
  const budget = new DeadLetterBudget({ perHour: 1 });
  expect([budget.allows("a", 0), budget.allows("a", 0), budget.allows("b", 0), budget.allows("", 0)]).toEqual([true, false, true, true]);
});

it("keeps never more than twice the allowance in any hour", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(HOUR_MS / 10), { maxLength: 400 }), fc.integer({ min: 1, max: 20 }), (waits, perHour) => {
      const budget = new DeadLetterBudget({ perHour });
      let nowMs = 1_790_000_000_000;
      const keptAt: number[] = [];
      for (const wait of waits) {
        nowMs += wait;
        if (budget.allows("a", nowMs)) keptAt.push(nowMs);
      }
      for (const [i, from] of keptAt.entries())
        expect(keptAt.slice(i).filter((at) => at < from + HOUR_MS).length).toBeLessThanOrEqual(2 * perHour);
    }),
    { seed: 5 },
  );
});

it("shares one budget among all the names beyond those that it tells apart", () => {
  const budget = new DeadLetterBudget({ perHour: 1 });
  const kept = Array.from({ length: 10_050 }, (_, i) => budget.allows(`p${i}`, 0)).filter(Boolean).length;
  expect(kept).toBe(10_001);
});
