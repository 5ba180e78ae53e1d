import type { LiftSpec } from "@smile/features/check-feature-set";
import { liftWidth } from "@smile/features/feature-count";
import { FeatureEncoder } from "@smile/features/feature-encoder";
import { LiftStream } from "@smile/features/lift-stream";
import { quantisationSteps } from "@smile/features/quantisation-steps";
import type { FeatureSet } from "@smile/features/spec";
import type { StreamCounters } from "@smile/features/stream-counters";
import type { TrainingRun } from "./training-run.ts";

/** Every window of the training runs as it leaves the lift, before standardisation. Windows of a run are neighbours. */
export type LiftedWindows = {
  readonly width: number;
  readonly count: number;
  /** [count][width], row by row. */
  readonly lifted: Float64Array;
  /** Index of the window's run. */
  readonly run: Int32Array;
  readonly endMs: Float64Array;
  readonly counters: Readonly<StreamCounters>;
};

/** Windows as the edge would send them. `features` is [count][F], row by row; feature f stands for its integer times steps[f]. */
export type Examples = {
  readonly count: number;
  readonly features: Int8Array | Int16Array;
  readonly steps: Float64Array;
  readonly clipped: number;
};

/** Runs the edge's own code over the rows of each run, one life after the other. */
export function liftRuns(spec: LiftSpec, runs: readonly TrainingRun[]): LiftedWindows {
  const width = liftWidth(spec.lift, spec.sensors.length);
  let lifted = new Float64Array(1024 * width);
  const run: number[] = [];
  const endMs: number[] = [];
  let current = 0;
  const stream = new LiftStream(spec, (_machine, end, vector) => {
    if ((run.length + 1) * width > lifted.length) {
      const larger = new Float64Array(lifted.length * 2);
      larger.set(lifted);
      lifted = larger;
    }
    lifted.set(vector, run.length * width);
    run.push(current);
    endMs.push(end);
  });
  runs.forEach(({ machine, rows }, index) => {
    current = index;
    for (const row of rows) stream.push(row);
    stream.flush(machine);
    stream.forget(machine);
  });
  return {
    width,
    count: run.length,
    lifted: lifted.subarray(0, run.length * width),
    run: Int32Array.from(run),
    endMs: Float64Array.from(endMs),
    counters: stream.counters,
  };
}

/** Mean and deviation (of the population) of each lifted feature; a feature that never moves gets deviation 1. */
export function fitStandardisation({ lifted, width, count }: LiftedWindows): { mean: number[]; deviation: number[] } {
  const mean = new Float64Array(width);
  const squares = new Float64Array(width);
  for (let i = 0; i < count; i++) for (let j = 0; j < width; j++) mean[j]! += lifted[i * width + j]! / count;
  for (let i = 0; i < count; i++) for (let j = 0; j < width; j++) squares[j]! += (lifted[i * width + j]! - mean[j]!) ** 2 / count;
  return { mean: [...mean], deviation: Array.from(squares, (square) => (square > 1e-18 ? Math.sqrt(square) : 1)) };
}

/** The second half of the edge's code: standardise, clip, append Fourier features, round. */
export function encodeWindows(windows: LiftedWindows, spec: FeatureSet): Examples {
  const encoder = new FeatureEncoder(spec);
  const steps = quantisationSteps(spec);
  const features = new (spec.quantise.bits <= 8 ? Int8Array : Int16Array)(windows.count * steps.length);
  let clipped = 0;
  for (let i = 0; i < windows.count; i++) {
    clipped += encoder.encode(windows.lifted.subarray(i * windows.width, (i + 1) * windows.width), features, i * steps.length);
  }
  return { count: windows.count, features, steps, clipped };
}
