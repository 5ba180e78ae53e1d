import { describe, expect, it } from "vitest";
import { DegradationState } from "../src/degradation-lift.ts";
import { liftWidth } from "../src/feature-count.ts";
import type { DegradationLift, StatisticsLift } from "../src/spec.ts";
import { StatisticsState } from "../src/statistics-lift.ts";

const lift: DegradationLift = { kind: "degradation", averages: [0.3, 0.1, 0.04], slopeRows: 30, baselineRows: 20, warmupRows: 19 };
const series = Array.from({ length: 60 }, (_, t) => [Math.sin(t) + t / 10, Math.cos(3 * t)]);

/** The same lift, written straight from its definition over a whole series of one sensor. */
function fromDefinition(x: readonly number[]): number[] {
  const n = x.length;
  const mean = (part: readonly number[]) => part.reduce((a, b) => a + b, 0) / part.length;
  const averages = lift.averages.map((factor) => x.reduce((m, value) => m + factor * (value - m), mean(x.slice(0, 5))));
  const last = x.slice(-30);
  const centred = last.map((_, t) => t - (last.length - 1) / 2);
  const squares = centred.reduce((a, t) => a + t * t, 0);
  const slope = squares > 0 ? (last.reduce((a, value, t) => a + centred[t]! * value, 0) / squares) * last.length : 0;
  return [...averages, slope, averages[1]! - mean(x.slice(0, 20)), averages[0]! - averages[2]!, Math.log1p(n) / 5];
}

describe("degradation lift", () => {
  it("equals its definition at every row, for each sensor", () => {
    const state = new DegradationState(lift, 2);
    const out = new Float64Array(liftWidth(lift, 2));
    series.forEach((values, t) => {
      state.add(t, Float64Array.from(values));
      state.read(t, out);
      for (const sensor of [0, 1]) {
        const expected = fromDefinition(series.slice(0, t + 1).map((row) => row[sensor]!));
        const found = [...[0, 1, 2, 3, 4, 5].map((k) => out[k * 2 + sensor]!), out[12]!];
        found.forEach((value, k) => {
          expect(value).toBeCloseTo(expected[k]!, 10);
        });
      }
    });
  });

  it("is ready after its warm-up and not before", () => {
    const state = new DegradationState(lift, 1);
    const ready = Array.from({ length: 21 }, (_, t) => {
      state.add(t, Float64Array.of(1));
      return state.ready();
    });
    expect(ready.indexOf(true)).toBe(19);
  });
});

describe("statistics lift", () => {
  const all: StatisticsLift = {
    kind: "statistics",
    statistics: ["mean", "last", "slope", "deviation", "minimum", "maximum"],
    minimumRows: 1,
  };

  it("gives hand-computed statistics of the rows in the window, sensor by sensor", () => {
    const state = new StatisticsState(all, 2, 10, 100);
    const out = new Float64Array(12);
    for (const [time, a, b] of [
      [0, 99, 99],
      [2, 1, 5],
      [4, 2, 5],
      [6, 6, 5],
    ] as const)
      state.add(time, Float64Array.of(a, b));
    state.read(11, out);
    // times 2, 4, 6 of values 1, 2, 6: slope 1.25 per ms, over 10 ms
    const expected = [3, 6, 12.5, Math.sqrt(14 / 3), 1, 6, 5, 5, 0, 0, 5, 5];
    expected.forEach((value, j) => {
      expect(out[j]).toBeCloseTo(value, 12);
    });
  });

  it("has slope and deviation 0 for a single row", () => {
    const state = new StatisticsState(all, 1, 10, 100);
    const out = new Float64Array(6);
    state.add(1, Float64Array.of(7));
    state.read(5, out);
    expect([...out]).toEqual([7, 7, 0, 0, 7, 7]);
  });

  it("loses no digits to times since 1970", () => {
    const state = new StatisticsState({ ...all, statistics: ["slope"] }, 1, 10_000, 100);
    const out = new Float64Array(1);
    for (let t = 0; t < 10; t++) state.add(1.8e12 + t * 1000, Float64Array.of(t));
    state.read(1.8e12 + 9000, out);
    expect(out[0]).toBeCloseTo(10, 9);
  });
});
