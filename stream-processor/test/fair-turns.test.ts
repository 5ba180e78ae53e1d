import fc from "fast-check";
import { expect, it } from "vitest";
import { FairTurns } from "../src/fair-turns.ts";

type Step = { readonly add: string } | { readonly drop: string } | "next";

const owner = fc.constantFrom("a", "b", "c", "d");
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ add: owner }) },
  { weight: 1, arbitrary: fc.record({ drop: owner }) },
  { weight: 3, arbitrary: fc.constant("next" as const) },
);

it("between two turns of an owner everybody else who waits all that time has exactly one", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const turns = new FairTurns<{ readonly of: string }>();
      /** How many wait of each owner, and per owner who has waited since its last turn, and how often each had one. */
      const waiting = new Map<string, number>();
      const since = new Map<string, Map<string, number>>();
      const change = (of: string, by: number) => waiting.set(of, (waiting.get(of) ?? 0) + by);
      const forget = (of: string) => {
        for (const others of since.values()) others.delete(of);
        since.delete(of);
      };
      for (const each of steps) {
        if (each === "next") {
          const next = turns.next()?.of;
          if (next === undefined) {
            expect([...waiting.values()].every((count) => count === 0)).toBe(true);
            continue;
          }
          for (const [other, count] of since.get(next) ?? []) expect({ other, count }).toEqual({ other, count: 1 });
          for (const others of since.values()) if (others.has(next)) others.set(next, others.get(next)! + 1);
          change(next, -1);
          if (waiting.get(next) === 0) forget(next);
          else since.set(next, new Map([...waiting].filter(([of, count]) => of !== next && count > 0).map(([of]) => [of, 0])));
        } else if ("add" in each) {
          turns.add(each.add, { of: each.add });
          change(each.add, 1);
        } else {
          expect(turns.remove(({ of }) => of === each.drop)).toHaveLength(waiting.get(each.drop) ?? 0);
          waiting.set(each.drop, 0);
          forget(each.drop);
        }
        expect(turns.size).toBe([...waiting.values()].reduce((a, b) => a + b, 0));
      }
    }),
    { numRuns: 500, seed: 5 },
  );
});

it("gives each owner its own in the order in which they came", () => {
  fc.assert(
    fc.property(fc.array(owner, { maxLength: 40 }), (owners) => {
      const turns = new FairTurns<{ of: string; number: number }>();
      for (const [number, of] of owners.entries()) turns.add(of, { of, number });
      const last = new Map<string, number>();
      for (let next = turns.next(); next !== undefined; next = turns.next()) {
        expect(next.number).toBeGreaterThan(last.get(next.of) ?? -1);
        last.set(next.of, next.number);
      }
      expect(turns.size).toBe(0);
    }),
    { numRuns: 200, seed: 6 },
  );
});
