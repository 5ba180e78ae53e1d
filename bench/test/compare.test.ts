import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkAgainst } from "../harness/check.ts";
import { compareResults, isWorse, middleOf } from "../harness/compare.ts";
import { resultOf } from "./results.ts";

const times = { unpack: 12.5, pack: 10, load: 61 };
const bytes = { up: 353.7 };
const base = resultOf({ times, bytes });
const verdicts = (changes: readonly { verdict: string }[]) => changes.map(({ verdict }) => verdict);

describe("compareResults", () => {
  it("reports a planted slow-down of 20 % in every figure", () => {
    const changes = compareResults(base, base, { plantedSlowdown: 1.2 });
    expect(verdicts(changes)).toEqual(["regression", "regression", "regression", "regression"]);
    expect(changes.every(isWorse)).toBe(true);
  });

  it("reports the one step that became 20 % slower, and none that became 19 % slower", () => {
    const head = resultOf({ times: { ...times, pack: 12, load: 61 * 1.19 }, bytes });
    const worse = compareResults(base, head).filter(isWorse);
    expect(worse.map(({ name, factor }) => [name, factor!.toFixed(2)])).toEqual([["pack", "1.20"]]);
  });

  it("reports 20 % more bytes, whatever the machine", () => {
    expect(compareResults(base, resultOf({ times, bytes: { up: 353.7 * 1.2 } }, 0.5)).filter(isWorse)).toHaveLength(1);
  });

  it("takes a machine of any speed for no change", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.01, max: 100, noNaN: true }), (slow) => {
        expect(verdicts(compareResults(base, resultOf({ times, bytes }, slow)))).toEqual(["same", "same", "same", "same"]);
      }),
      { seed: 1 },
    );
  });

  it("finds a slow-down of 20 % or more on a machine of any speed", () => {
    const speeds = fc.tuple(fc.double({ min: 0.01, max: 100, noNaN: true }), fc.double({ min: 1.2, max: 50, noNaN: true }));
    fc.assert(
      fc.property(speeds, ([slow, factor]) => {
        const head = resultOf({ times: { ...times, unpack: 12.5 * factor }, bytes }, slow);
        expect(
          compareResults(base, head)
            .filter(isWorse)
            .map(({ name }) => name),
        ).toEqual(["unpack"]);
      }),
      { seed: 1 },
    );
  });

  it("tells a figure that the new run lacks, or counts in another unit, as missing", () => {
    const { load: _, ...rest } = times;
    expect(verdicts(compareResults(base, resultOf({ times: rest, bytes })))).toEqual(["same", "same", "missing", "same"]);
    expect(compareResults(base, resultOf({ times: { ...times, ...bytes } })).at(-1)!.verdict).toBe("missing");
  });

  it("shows differences and times by the wall clock without judging them", () => {
    const unjudged = (change: object) => ({ ...base, measurements: base.measurements.map((each) => ({ ...each, ...change })) });
    for (const change of [{ isPart: true }, { clock: "wall" as const }])
      expect(new Set(verdicts(compareResults(base, unjudged(change), { plantedSlowdown: 5 })))).toEqual(new Set(["unjudged"]));
  });
});

describe("repeated comparisons", () => {
  const disturbed = compareResults(base, resultOf({ times: { ...times, load: 100 }, bytes }));
  const quiet = compareResults(base, base);

  it("let a disturbance of one run pass", () => {
    expect(disturbed.some(isWorse)).toBe(true);
    expect(middleOf([quiet, disturbed, quiet]).some(isWorse)).toBe(false);
  });

  it("keep what is worse in each of them", () => {
    expect(middleOf([disturbed, disturbed, disturbed]).filter(isWorse)).toHaveLength(1);
    expect(middleOf([quiet, disturbed, disturbed]).filter(isWorse)).toHaveLength(1);
  });

  it("measure again until nothing is worse, and give up after three runs", async () => {
    const runs = [resultOf({ times: { ...times, pack: 13 }, bytes }), base];
    expect((await checkAgainst(base, async () => runs.shift()!)).some(isWorse)).toBe(false);
    let measured = 0;
    const slower = async () => {
      measured++;
      return resultOf({ times: { ...times, pack: 12 }, bytes });
    };
    expect((await checkAgainst(base, slower)).filter(isWorse).map(({ name }) => name)).toEqual(["pack"]);
    expect(measured).toBe(3);
  });
});
