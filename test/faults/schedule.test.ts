import fc from "fast-check";
import { expect, it } from "vitest";
import { FAULT_KINDS, FAULTS, scheduleOf, transportOf } from "./schedule.ts";

const seed = fc.integer({ min: 0, max: 2 ** 31 - 1 });

it("follows from the seed alone, and another seed gives another schedule", () => {
  fc.assert(
    fc.property(seed, (s) => {
      expect(scheduleOf(s)).toEqual(scheduleOf(s));
      expect(scheduleOf(s)).not.toEqual(scheduleOf(s + 1));
    }),
    { seed: 1 },
  );
});

it("holds each kind once, each after some progress and for as long as its kind lasts", () => {
  fc.assert(
    fc.property(seed, fc.subarray([...FAULT_KINDS], { minLength: 1 }), (s, kinds) => {
      const faults = scheduleOf(s, kinds);
      expect(faults.map(({ kind }) => kind).toSorted()).toEqual(kinds.toSorted());
      for (const { kind, after, steps } of faults) {
        const [least, most] = FAULTS[kind].steps;
        expect(after.count).toBeGreaterThan(0);
        expect(steps).toBeGreaterThanOrEqual(least);
        expect(steps).toBeLessThanOrEqual(most);
      }
    }),
    { seed: 2 },
  );
});

it("has schedules with and without TLS among any three in a row", () => {
  fc.assert(
    fc.property(seed, (s) => {
      expect([s, s + 1, s + 2].map(transportOf).toSorted()).toEqual(["plain", "tls", "tls"]);
    }),
    { seed: 3 },
  );
});
