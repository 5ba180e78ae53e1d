import { expect, it, vi } from "vitest";
import { calibrationWork } from "../harness/calibration.ts";
import { timed } from "../harness/result.ts";
import { difference, dividedBy, type Samples, sampleTogether, sumOf } from "../harness/sampling.ts";

const rule = { samples: 4, sampleMs: 0.2, warmUpMs: 1 };
const samples = (...us: number[]): Samples => ({ clock: "cpu", us, calibrationUs: us.map(() => 10), isPart: false });

it("does the same calibration work at every call, on every machine", () => {
  const checksum = calibrationWork();
  expect(calibrationWork()).toBe(checksum);
  expect(checksum).toBe(CHECKSUM);
});
/** Whoever changes the loop changes the unit of every stored baseline. */
const CHECKSUM = 973404627;

it("takes a sample of every case in every round, each beside one of the calibration loop", async () => {
  const order: string[] = [];
  const note = (name: string) => () => {
    if (order.at(-1) !== name) order.push(name);
    calibrationWork();
  };
  const found = await sampleTogether(
    [
      { name: "a", run: note("a") },
      { name: "b", run: async () => note("b")() },
    ],
    rule,
  );
  expect(order.slice(-8)).toEqual(["a", "b", "a", "b", "a", "b", "a", "b"]);
  for (const { us, calibrationUs } of found.values()) {
    expect(us).toHaveLength(4);
    expect(calibrationUs).toHaveLength(4);
    for (const each of [...us, ...calibrationUs]) expect(each).toBeGreaterThan(0);
  }
  expect(found.get("a")!.calibrationUs).toEqual(found.get("b")!.calibrationUs);
});

it("counts per thing where a call handles several", async () => {
  let nowMs = 0;
  vi.spyOn(performance, "now").mockImplementation(() => ++nowMs);
  const found = await sampleTogether([{ name: "many", clock: "wall", perCall: 1000, run: () => {} }], rule);
  vi.restoreAllMocks();
  // Each look at this clock is a millisecond later: one call, a thousand things.
  expect(found.get("many")!.us).toEqual([1, 1, 1, 1]);
});

it("subtracts, adds and divides round by round", () => {
  expect(difference(samples(5, 7, 9), samples(1, 2, 3))).toMatchObject({ us: [4, 5, 6], isPart: true });
  expect(sumOf(samples(1, 2), samples(10, 20), samples(100, 200)).us).toEqual([111, 222]);
  expect(dividedBy(samples(32, 64), 32).us).toEqual([1, 2]);
});

it("tells a time as a multiple of the calibration loop of its own round", () => {
  const disturbed: Samples = { clock: "cpu", us: [20, 40, 20], calibrationUs: [10, 20, 10], isPart: false };
  expect(timed("step", "us/frame", disturbed)).toMatchObject({ median: 20, q3: 30, calibrated: 2, calibratedSpread: 0 });
});
