import { type BenchResult, exact, timed } from "../harness/result.ts";

/** A result of made-up figures. @param slow what the machine takes for everything, the calibration loop included, against another */
export function resultOf(
  figures: { readonly times?: Readonly<Record<string, number>>; readonly bytes?: Readonly<Record<string, number>> },
  slow = 1,
): BenchResult {
  const { times = {}, bytes = {} } = figures;
  return {
    kind: "bench-result",
    version: 1,
    bench: "made-up",
    takenAt: "2026-11-22T20:00:00.000Z",
    revision: { commit: null, changed: false },
    machine: { cpu: "none", cores: 2, memoryMb: 1, os: "none", node: "none", load: 0 },
    calibrationUs: 100 * slow,
    headline: {},
    measurements: [
      ...Object.entries(times).map(([name, us]) =>
        timed(name, "us/frame", {
          clock: "cpu",
          us: [us, us, us].map((each) => each * slow),
          calibrationUs: [100, 100, 100].map((each) => each * slow),
          isPart: false,
        }),
      ),
      ...Object.entries(bytes).map(([name, value]) => exact(name, "B", value)),
    ],
  };
}
