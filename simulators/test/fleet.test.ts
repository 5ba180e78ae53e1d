import type { Row } from "@smile/features/spec";
import fc from "fast-check";
import { expect, it } from "vitest";
import { type FleetOptions, fleet } from "../src/fleet.ts";
import { FLEET_SENSORS } from "../src/sensors.ts";
import { trainingHistories } from "../src/training-histories.ts";

const stepMs = 1000;
const run = (options: FleetOptions, steps: number): Row[] => {
  const source = fleet(options);
  return Array.from({ length: steps }, () => source.step()).flat();
};
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

it("gives the same rows for the same seed", () => {
  expect(run({ seed: 3, machines: 5, stepMs }, 120)).toEqual(run({ seed: 3, machines: 5, stepMs }, 120));
});

it("gives other rows and other failures for another seed", () => {
  const [a, b] = [3, 4].map((seed) => fleet({ seed, machines: 5, stepMs }));
  expect(a!.step()).not.toEqual(b!.step());
  expect(a!.nextFailureMs("pump-001", a!.nextMs)).not.toBe(b!.nextFailureMs("pump-001", b!.nextMs));
});

it("gives a machine the same rows however many others there are, and however often the truth is asked for", () => {
  const alone = run({ seed: 8, machines: 1, stepMs }, 200);
  const many = fleet({ seed: 8, machines: 7, stepMs });
  const amongMany: Row[] = [];
  for (let step = 0; step < 200; step++) {
    many.nextFailureMs("pump-001", many.nextMs);
    amongMany.push(...many.step().filter((row) => row.machine === "pump-001"));
  }
  expect(amongMany).toEqual(alone);
});

it("foretells exactly the failures that then happen, and sends no row from a failure to the next life", () => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(1, 250, 600_000), (seed, stepMs) => {
      const source = fleet({ seed, machines: 3, stepMs });
      const startMs = source.nextMs;
      const foretold = source.machines.map((machine) => source.nextFailureMs(machine, startMs));
      const times = new Map<string, number[]>(source.machines.map((machine) => [machine, []]));
      for (let step = 0; step < 900; step++) for (const row of source.step()) times.get(row.machine)!.push(row.timeMs);
      const endMs = source.nextMs - stepMs;
      source.machines.forEach((machine, i) => {
        const failures = source.failuresUpTo(machine, endMs);
        expect(failures[0]).toBe(foretold[i]);
        const seen = new Set(times.get(machine));
        for (let timeMs = startMs; timeMs <= endMs; timeMs += stepMs) {
          const lifeStart = source.lifeStartMs(machine, timeMs);
          expect(seen.has(timeMs)).toBe(lifeStart !== null);
          const next = source.nextFailureMs(machine, timeMs);
          expect(next).toBe(failures.find((failureMs) => failureMs > timeMs) ?? next);
          expect(next).toBeGreaterThan(timeMs);
        }
        for (const failureMs of failures) {
          expect(seen.has(failureMs - stepMs)).toBe(true);
          expect(source.lifeStartMs(machine, failureMs)).toBeNull();
        }
      });
    }),
    { seed: 20, numRuns: 6 },
  );
});

it("fails some 20 to 60 of 96 machines within 300 steps, each life hundreds of steps long", () => {
  for (const seed of [1, 2, 3]) {
    const source = fleet({ seed, machines: 96, stepMs });
    const endMs = source.nextMs + 300 * stepMs;
    const failures = source.machines.reduce((sum, machine) => sum + source.failuresUpTo(machine, endMs).length, 0);
    expect(failures).toBeGreaterThanOrEqual(20);
    expect(failures).toBeLessThanOrEqual(60);
  }
  const lengths = trainingHistories({ seed: 5, machines: 40, stepMs })
    .filter((history) => history.life === 1)
    .map((history) => history.rows.length);
  expect(Math.min(...lengths)).toBeGreaterThan(150);
  expect(Math.max(...lengths)).toBeLessThan(900);
  expect(Math.max(...lengths) - Math.min(...lengths)).toBeGreaterThan(150);
});

it("reads every sensor of every row as a finite number, also with spikes and idle machines", () => {
  const rows = run({ seed: 2, machines: 12, stepMs }, 300);
  for (const { values } of rows) {
    expect(Object.keys(values)).toEqual([...FLEET_SENSORS]);
    expect(Object.values(values).every(Number.isFinite)).toBe(true);
  }
  expect(rows.some(({ values }) => values.shaftSpeed! < 10)).toBe(true);
});

it("shows wear: shortly before a failure vibration and temperature are up, while load sensors cannot tell", () => {
  const histories = trainingHistories({ seed: 9, machines: 30, stepMs, lives: 1 });
  const ratio = (sensor: string) => {
    const late: number[] = [];
    const early: number[] = [];
    for (const { rows } of histories) {
      early.push(...rows.slice(0, 30).map((row) => row.values[sensor]!));
      late.push(...rows.slice(-30).map((row) => row.values[sensor]!));
    }
    return mean(late) / mean(early);
  };
  expect(ratio("vibrationRms")).toBeGreaterThan(1.8);
  expect(ratio("vibrationPeak")).toBeGreaterThan(2);
  expect(ratio("bearingTemperature")).toBeGreaterThan(1.1);
  expect(Math.abs(ratio("power") - 1)).toBeLessThan(0.15);
});

it("hands training complete lives with the time to the failure of each row", () => {
  const histories = trainingHistories({ seed: 6, machines: 4, stepMs, lives: 2 });
  expect(histories.map(({ machine, life }) => `${machine}/${life}`)).toEqual(
    ["pump-001", "fan-002", "compressor-003", "pump-004"].flatMap((machine) => [`${machine}/0`, `${machine}/1`]),
  );
  const source = fleet({ seed: 6, machines: 4, stepMs });
  for (const { machine, rows, timeToFailureMs } of histories) {
    expect(timeToFailureMs).toHaveLength(rows.length);
    expect(timeToFailureMs.at(-1)).toBe(stepMs);
    rows.forEach((row, i) => {
      expect(row.timeMs + timeToFailureMs[i]!).toBe(source.nextFailureMs(machine, row.timeMs));
    });
  }
});

it("names the number that is out of range", () => {
  expect(() => fleet({ seed: 1, machines: 0, stepMs })).toThrow("machines is 0");
  expect(() => fleet({ seed: 1, machines: 1, stepMs: 0.5 })).toThrow("stepMs is 0.5");
  expect(() => fleet({ seed: 1, machines: 1, stepMs }).nextFailureMs("pump-002", 0)).toThrow("pump-002");
});
