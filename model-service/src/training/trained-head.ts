import type { FeatureSet } from "@smile/features/spec";
import type { StreamCounters } from "@smile/features/stream-counters";
import type { CvEntry } from "./choose-setting.ts";
import type { LinearHead } from "./penalised-least-squares.ts";

/** A feature set, a head in floating point on its dequantised features (integer times step), and how they were chosen. */
export type TrainedHead = {
  readonly featureSet: FeatureSet;
  readonly head: LinearHead;
  /** [F], `quantisationSteps(featureSet)`: what `quantiseHead` needs. */
  readonly steps: Float64Array;
  /** Everything tried; `chosen` by `chooseSetting`. */
  readonly cv: readonly CvEntry[];
  readonly chosen: CvEntry;
  readonly machines: number;
  /** Windows that were learned from. */
  readonly windows: number;
  /** What became of the training rows: refused, late, duplicate. */
  readonly counters: Readonly<StreamCounters>;
};
