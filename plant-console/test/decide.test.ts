import fc from "fast-check";
import { expect, it } from "vitest";
import { type AlertRule, type AlertState, decide, isConsistent, isFiniteUpTo, riskOf } from "../src/decide.ts";

const above: AlertRule = { direction: "above", raise: 0.8, clear: 0.5 };
const below: AlertRule = { direction: "below", raise: 30, clear: 50 };

const run = (rule: AlertRule, risks: readonly number[], times = risks.map((_, i) => i)) => {
  let state: AlertState | undefined;
  return risks.map((risk, i) => {
    const decision = decide(state, risk, times[i]!, rule);
    state = decision.state;
    return decision;
  });
};
const events = (rule: AlertRule, risks: readonly number[], times?: number[]) => run(rule, risks, times).map(({ event }) => event);

it("scales, calibrates, links and limits a score, in this order", () => {
  expect(riskOf(250, { scale: 0.1, calibration: null, link: "identity", range: null })).toBe(25);
  expect(riskOf(250, { scale: 0.1, calibration: { slope: 2, intercept: -1 }, link: "identity", range: null })).toBe(49);
  expect(riskOf(250, { scale: 0.1, calibration: { slope: 2, intercept: -1 }, link: "identity", range: [0, 40] })).toBe(40);
  expect(riskOf(0, { scale: 0.1, calibration: null, link: "logistic", range: null })).toBe(0.5);
  expect(riskOf(-1e15, { scale: 1, calibration: null, link: "logistic", range: null })).toBe(0);
});

it("takes no scale under which some score has a risk that is no finite number", () => {
  const number = fc.double({ noNaN: true, noDefaultInfinity: true });
  const scales = fc.record({
    scale: fc.double({ min: Number.MIN_VALUE, max: Number.MAX_VALUE, noNaN: true }),
    calibration: fc.option(fc.record({ slope: fc.oneof(number, fc.constant(0)), intercept: number })),
    link: fc.constantFrom("identity" as const, "logistic" as const),
    range: fc.option(fc.tuple(number, number)),
  });
  const largest = 2 ** 33;
  let refused = 0;
  fc.assert(
    fc.property(scales, fc.array(fc.integer({ min: -largest, max: largest }), { minLength: 1, maxLength: 20 }), (scale, scores) => {
      if (isFiniteUpTo(largest, scale)) expect(scores.every((score) => Number.isFinite(riskOf(score, scale)))).toBe(true);
      else refused++;
    }),
    { seed: 4, numRuns: 2000 },
  );
  expect(refused).toBeGreaterThan(100);
  expect(isFiniteUpTo(largest, { scale: 1e300, calibration: { slope: 0, intercept: 0 }, link: "identity", range: null })).toBe(false);
  expect(isFiniteUpTo(largest, { scale: 1e-3, calibration: { slope: -4, intercept: 2 }, link: "logistic", range: null })).toBe(true);
});

it("raises at the threshold, holds through the gap, clears below it", () => {
  expect(events(above, [0.7, 0.8, 0.6, 0.9, 0.5, 0.7, 0.81])).toEqual([null, "raised", null, null, "cleared", null, "raised"]);
  expect(events(below, [40, 30, 45, 10, 50, 45, 29])).toEqual([null, "raised", null, null, "cleared", null, "raised"]);
});

it("leaves a window out that is older than the newest one", () => {
  const decisions = run(above, [0.9, 0.1, 0.1], [10, 5, 11]);
  expect(decisions.map(({ late, event }) => [late, event])).toEqual([
    [false, "raised"],
    [true, null],
    [false, "cleared"],
  ]);
});

const rule = fc
  .record({
    direction: fc.constantFrom("above" as const, "below" as const),
    a: fc.double({ min: 0, max: 1, noNaN: true }),
    b: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ direction, a, b }): AlertRule => {
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    return direction === "above" ? { direction, raise: high, clear: low } : { direction, raise: low, clear: high };
  });
const windows = fc.array(fc.record({ risk: fc.double({ min: 0, max: 1, noNaN: true }), timeMs: fc.integer({ min: 0, max: 20 }) }), {
  maxLength: 40,
});

it("alternates raised and cleared, and is raised exactly while the last event was a raise", () => {
  fc.assert(
    fc.property(rule, windows, (given, list) => {
      expect(isConsistent(given)).toBe(true);
      let raised = false;
      let state: AlertState | undefined;
      for (const { risk, timeMs } of list) {
        const { state: after, event } = decide(state, risk, timeMs, given);
        if (event) {
          expect(event).toBe(raised ? "cleared" : "raised");
          raised = !raised;
        }
        expect(after.raised).toBe(raised);
        state = after;
      }
    }),
    { seed: 31 },
  );
});

it("decides by the same windows whatever arrives late in between", () => {
  fc.assert(
    fc.property(rule, windows, (given, list) => {
      const all = run(
        given,
        list.map(({ risk }) => risk),
        list.map(({ timeMs }) => timeMs),
      );
      const onTime = list.filter((_, i) => !all[i]!.late);
      const alone = run(
        given,
        onTime.map(({ risk }) => risk),
        onTime.map(({ timeMs }) => timeMs),
      );
      expect(all.filter(({ late }) => !late)).toEqual(alone);
    }),
    { seed: 32 },
  );
});
