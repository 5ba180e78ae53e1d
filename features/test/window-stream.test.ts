import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { featureCount } from "../src/feature-count.ts";
import type { Refusal } from "../src/lift-stream.ts";
import type { FeatureSet, LiftedWindow, Row } from "../src/spec.ts";
import { WindowStream } from "../src/window-stream.ts";
import { degradationSet, statisticsSet } from "./example-feature-sets.ts";

const row = (machine: string, timeMs: number, value = timeMs / 1000): Row => ({
  machine,
  timeMs,
  values: { pressure: value, speed: -value, temperature: value * value, altitude: value > 2 ? 40 : 0 },
});
const run = (spec: FeatureSet, rows: readonly Row[]) => {
  const stream = new WindowStream(spec);
  return { stream, windows: [...rows.flatMap((r) => stream.push(r)), ...stream.flush()] };
};
const ends = (windows: readonly LiftedWindow[]) => windows.map((w) => w.endMs);
const features = (windows: readonly LiftedWindow[], machine: string) =>
  windows.filter((w) => w.machine === machine).map((w) => [w.endMs, w.clipped, ...w.features]);
const specs = { degradation: degradationSet, statistics: statisticsSet };
const arbitraryRows = fc.array(
  fc.record({
    machine: fc.constantFrom("a", "b"),
    timeMs: fc.integer({ min: 0, max: 60_000 }),
    value: fc.double({ min: -5, max: 5, noNaN: true }),
  }),
  { maxLength: 60 },
);

describe("windows in event time", () => {
  it("emits a window of one row at once when nothing may be late", () => {
    const stream = new WindowStream(statisticsSet({ window: { lengthMs: 1000, hopMs: 1000, latenessMs: 0 } }));
    expect(ends(stream.push(row("a", 3000)))).toEqual([3000]);
    expect(ends(stream.push(row("a", 3500)))).toEqual([]);
    expect(ends(stream.push(row("a", 4200)))).toEqual([4000]);
  });

  it("ends windows at multiples of the hop, each row in every window that covers it", () => {
    const { windows } = run(statisticsSet(), [row("a", 1000), row("a", 7000), row("a", 12_000)]);
    expect(ends(windows)).toEqual([5000, 10_000, 15_000]);
  });

  it("puts rows in order within the lateness and counts what comes later", () => {
    const spec = degradationSet({ window: { lengthMs: 1000, hopMs: 1000, latenessMs: 3000 } });
    const ordered = run(
      spec,
      [1, 2, 3, 4, 5, 6, 7, 8].map((t) => row("a", t * 1000)),
    );
    const shuffled = run(
      spec,
      [2, 1, 3, 5, 4, 7, 6, 8, 5].map((t) => row("a", t * 1000)),
    );
    expect(features(shuffled.windows, "a")).toEqual(features(ordered.windows, "a"));
    expect(shuffled.stream.counters).toMatchObject({ accepted: 8, late: 0, duplicate: 1 });
    const stream = new WindowStream(spec);
    for (const t of [1, 9, 2]) stream.push(row("a", t * 1000));
    expect(stream.counters).toMatchObject({ accepted: 2, late: 1 });
  });

  it("counts a repeated row, whether its turn has come or not", () => {
    const { stream, windows } = run(statisticsSet(), [row("a", 1000), row("a", 1000), row("a", 6000), row("a", 6000)]);
    expect(stream.counters).toMatchObject({ accepted: 2, duplicate: 2, windows: 2 });
    expect(ends(windows)).toEqual([5000, 10_000]);
  });

  it("emits no window without rows, however long the gap", () => {
    const { windows } = run(statisticsSet(), [row("a", 1000), row("a", 900_000_001_000)]);
    expect(ends(windows)).toEqual([5000, 10_000, 900_000_005_000]);
  });

  it("counts windows that the lift has too few rows for", () => {
    const { stream, windows } = run(
      degradationSet(),
      [1, 2, 3, 4, 5, 6].map((t) => row("a", t * 1000)),
    );
    expect(ends(windows)).toEqual([5000, 6000]);
    expect(stream.counters).toMatchObject({ tooFewRows: 4, windows: 2 });
  });

  it("starts a new life for a machine that was forgotten", () => {
    const rows = [1, 2, 3, 4, 5, 6].map((t) => row("a", t * 1000));
    const { stream, windows } = run(degradationSet(), rows);
    stream.forget("a");
    expect(
      features(
        rows.flatMap((r) => stream.push(r)),
        "a",
      ),
    ).toEqual(features(windows, "a"));
  });

  it("keeps the newest rows and counts the rest when a machine sends more than a window may hold", () => {
    const { stream } = run(
      statisticsSet(),
      Array.from({ length: 5000 }, (_, n) => row("a", 1 + n / 1000)),
    );
    expect(stream.counters.overflowed).toBe(5000 - 4096);
  });

  it("lets the oldest row go ahead when too many wait for their order", () => {
    const stream = new WindowStream(degradationSet({ window: { lengthMs: 1000, hopMs: 1000, latenessMs: 1e9 } }));
    for (let t = 1; t <= 5000; t++) stream.push(row("a", t * 1000));
    expect(stream.counters.overflowed).toBe(5000 - 4096);
    expect(stream.counters.windows + stream.counters.tooFewRows).toBe(5000 - 4096);
  });
});

describe("bad rows", () => {
  it("are refused with a reason that names the field and no value", () => {
    const refusals: Refusal[] = [];
    const stream = new WindowStream(degradationSet(), { onRefused: (refusal) => refusals.push(refusal) });
    stream.push({ machine: "a", timeMs: Number.NaN, values: row("a", 1).values });
    stream.push({ machine: "a", timeMs: 1, values: { pressure: 1, speed: 2, altitude: 0 } });
    stream.push({ machine: "a", timeMs: 1, values: { ...row("a", 1).values, altitude: Number.POSITIVE_INFINITY } });
    expect(refusals).toEqual([
      { machine: "a", reason: "time-not-finite", field: "timeMs" },
      { machine: "a", reason: "value-missing", field: "temperature" },
      { machine: "a", reason: "value-not-finite", field: "altitude" },
    ]);
    expect(stream.counters.refused).toEqual({ "time-not-finite": 1, "value-missing": 1, "value-not-finite": 1 });
    expect(stream.machines).toEqual([]);
  });

  it("cost neither their machine nor any other a window", () => {
    fc.assert(
      fc.property(arbitraryRows, fc.array(fc.nat(60)), (rows, at) => {
        const good = rows.map((r) => row(r.machine, r.timeMs, r.value));
        const mixed = [...good];
        for (const place of at) mixed.splice(place, 0, { machine: "a", timeMs: place, values: { pressure: Number.NaN } });
        for (const make of Object.values(specs)) {
          const [clean, dirty] = [run(make(), good).windows, run(make(), mixed).windows];
          for (const machine of ["a", "b"]) expect(features(dirty, machine)).toEqual(features(clean, machine));
        }
      }),
      { seed: 2, numRuns: 50 },
    );
  });
});

describe.each(Object.entries(specs))("any stream with the %s lift", (_, make) => {
  const spec = make({ window: { lengthMs: 10_000, hopMs: 5_000, latenessMs: 7_000 } });

  it("counts every row exactly once and emits increasing ends that each cover a row", () => {
    fc.assert(
      fc.property(arbitraryRows, (rows) => {
        const { stream, windows } = run(
          spec,
          rows.map((r) => row(r.machine, r.timeMs, r.value)),
        );
        const { accepted, late, duplicate } = stream.counters;
        expect(accepted + late + duplicate).toBe(rows.length);
        for (const machine of ["a", "b"]) {
          const own = ends(windows.filter((w) => w.machine === machine));
          expect(own).toEqual([...new Set(own)].toSorted((x, y) => x - y));
          for (const end of own) {
            expect(end % 5000).toBe(0);
            expect(rows.some((r) => r.machine === machine && r.timeMs <= end && r.timeMs > end - 10_000)).toBe(true);
          }
        }
      }),
      { seed: 3, numRuns: 100 },
    );
  });

  it("keeps features within their bits", () => {
    fc.assert(
      fc.property(arbitraryRows, (rows) => {
        for (const window of run(
          spec,
          rows.map((r) => row(r.machine, r.timeMs, r.value * 1000)),
        ).windows) {
          expect(window.features).toHaveLength(featureCount(spec));
          expect(window.features.every((x) => Math.abs(x) <= 127)).toBe(true);
        }
      }),
      { seed: 4, numRuns: 50 },
    );
  });

  it("gives bit-identical windows after a restart from a snapshot at any row, through JSON", () => {
    fc.assert(
      fc.property(arbitraryRows, fc.nat(60), (rows, cut) => {
        const all = rows.map((r) => row(r.machine, r.timeMs, r.value));
        const before = new WindowStream(spec);
        const windows = all.slice(0, cut).flatMap((r) => before.push(r));
        const after = new WindowStream(spec);
        for (const machine of before.machines) after.restore(machine, JSON.parse(JSON.stringify(before.snapshot(machine))));
        windows.push(...all.slice(cut).flatMap((r) => after.push(r)), ...after.flush());
        const unbroken = run(spec, all).windows;
        for (const machine of ["a", "b"]) expect(features(windows, machine)).toEqual(features(unbroken, machine));
      }),
      { seed: 5, numRuns: 200 },
    );
  });
});

describe("a snapshot", () => {
  const stream = new WindowStream(degradationSet());
  stream.push(row("a", 1000));
  const snapshot = stream.snapshot("a");

  it("is null for a machine that is not known", () => expect(stream.snapshot("b")).toBeNull());

  it("outlives a new standardisation, since that comes after the state", () => {
    const retrained = degradationSet();
    const next = new WindowStream({ ...retrained, standardise: { ...retrained.standardise, clip: 3 } });
    next.restore("a", snapshot);
    expect(next.machines).toEqual(["a"]);
  });

  it.each([
    ["of another lift", () => snapshot, statisticsSet(), "stateKey"],
    ["of a later version", () => ({ ...snapshot, version: 2 }), degradationSet(), "version"],
    ["cut short", () => ({ ...snapshot, lift: snapshot?.lift.slice(8) }), degradationSet(), "lift"],
    ["without a clock", () => ({ ...snapshot, clock: ["now"] }), degradationSet(), "clock"],
    ["that is none", () => null, degradationSet(), "version"],
  ])("%s is refused by name", (_, damaged, spec, field) => {
    expect(() => new WindowStream(spec).restore("a", damaged())).toThrowError(
      expect.objectContaining({ code: "DOCUMENT_INVALID", facts: { field } }),
    );
  });
});
