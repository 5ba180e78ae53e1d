import { PipelineError } from "@smile/errors/pipeline-error";
import type { FeatureSet, FourierLift } from "@smile/features/spec";
import { fitStandardisation, type LiftedWindows, liftRuns } from "./examples.ts";
import { fitRegimes } from "./fit-regimes.ts";
import type { OnProgress, TrainingRun } from "./training-run.ts";

/** What every kind of training takes. Everything is learned from `runs` and nothing else. */
export type TrainingOptions = {
  /** Name of the feature set. */
  readonly name: string;
  /** At least as many as folds; each with its own machine name or its own life of a machine. */
  readonly runs: readonly TrainingRun[];
  /** Candidates; those that never move are dropped. */
  readonly sensors: readonly string[];
  /** Settings that define the operating regime, if any; one regime results where they only scatter. */
  readonly settings?: readonly string[];
  readonly window: FeatureSet["window"];
  readonly lift: FeatureSet["lift"];
  /** Of normalised sensors, in deviations; 6 by default. */
  readonly sensorClip?: number;
  /** Of standardised features, in deviations; 4 by default. */
  readonly clip?: number;
  /** Of a feature; 8 by default. */
  readonly bits?: number;
  /** Random Fourier features; 0 for none, the default of `trainFailureRisk`. */
  readonly fourierWidth?: number;
  /** Grid of cross-validation: bandwidths and seeds of the Fourier lift (see `searchSettings`), penalties of the head; and its folds. */
  readonly bandwidths?: readonly number[];
  readonly seeds?: readonly number[];
  readonly penalties?: readonly number[];
  readonly folds?: number;
  readonly onProgress?: OnProgress;
};

/** `featureSet` completes the feature set with a Fourier lift, or none. */
export type Prepared = { readonly windows: LiftedWindows; readonly featureSet: (fourier: FourierLift | null) => FeatureSet };

/** Fits regimes and standardisation, and lifts every run once: what all Fourier lifts that are tried have in common. */
export function prepareTraining(options: TrainingOptions): Prepared {
  const { name, runs, window, lift, settings = [], sensorClip = 6, clip = 4, bits = 8 } = options;
  const { regimes, sensors } = fitRegimes(runs, options.sensors, settings, sensorClip);
  const windows = liftRuns({ sensors, window, regimes, lift: untilSettled(lift) }, runs);
  if (windows.count === 0) throw new PipelineError("TRAINING_IMPOSSIBLE", `${runs.length} runs gave no window`, { runs: runs.length });
  const standardise = { ...fitStandardisation(windows), clip };
  const common = { kind: "feature-set", version: 1, name, sensors, window, regimes, lift, standardise } as const;
  return { windows, featureSet: (fourier) => ({ ...common, fourier, quantise: { bits } }) };
}

/**
 * Windows from before the baseline is complete are of another kind than all later ones (slope and drift of a few rows are mostly
 * noise) and would bend the head for them: they are scored at the edge, but nothing is learned from them.
 */
function untilSettled(lift: FeatureSet["lift"]): FeatureSet["lift"] {
  return lift.kind === "degradation" ? { ...lift, warmupRows: Math.max(lift.warmupRows, lift.baselineRows - 1) } : lift;
}

/**
 * Runs i, i + folds, i + 2 folds ... form fold i, so that no machine is on both sides of a split.
 * @returns fold of each window
 * @throws {PipelineError} TRAINING_IMPOSSIBLE when there are fewer runs than folds
 */
export function foldOfWindows(windows: Pick<LiftedWindows, "run">, runs: number, folds: number): Int32Array {
  if (!Number.isInteger(folds) || folds < 2) throw new RangeError(`folds is ${folds}; it must be a whole number from 2 on`);
  if (runs < folds) throw new PipelineError("TRAINING_IMPOSSIBLE", `${runs} runs cannot form ${folds} folds`, { runs, folds });
  return windows.run.map((run) => run % folds);
}
