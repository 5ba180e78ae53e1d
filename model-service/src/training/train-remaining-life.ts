import { PipelineError } from "@smile/errors/pipeline-error";
import type { DegradationLift, FeatureSet } from "@smile/features/spec";
import type { StreamCounters } from "@smile/features/stream-counters";
import { crossValidateRidge } from "./cross-validate-ridge.ts";
import { encodeWindows } from "./examples.ts";
import { type LinearHead, solveRidge } from "./penalised-least-squares.ts";
import { foldOfWindows, prepareTraining, type TrainingOptions } from "./prepare-training.ts";
import { breathe } from "./training-run.ts";

/** One setting that cross-validation tried; `bandwidth` and `seed` are null without a Fourier lift. Lower `loss` is better. */
export type CvEntry = { readonly bandwidth: number | null; readonly seed: number | null; readonly penalty: number; readonly loss: number };

/** A feature set, a head in floating point on its dequantised features (integer times step), and how they were chosen. */
export type TrainedHead = {
  readonly featureSet: FeatureSet;
  readonly head: LinearHead;
  /** [F], `quantisationSteps(featureSet)`: what `quantiseHead` needs. */
  readonly steps: Float64Array;
  /** Everything tried; `chosen` is the entry of least loss. */
  readonly cv: readonly CvEntry[];
  readonly chosen: CvEntry;
  readonly machines: number;
  readonly windows: number;
  /** What became of the training rows: refused, late, duplicate. */
  readonly counters: Readonly<StreamCounters>;
};

export type RemainingLifeOptions = Omit<TrainingOptions, "window" | "lift"> & {
  /** Event time of one unit of life, for instance one cycle; also length and hop of the window unless `window` is given. */
  readonly unitMs: number;
  /** Remaining lives are learned up to here, in units; 125 by default, as is usual for C-MAPSS (Heimes, PHM 2008, used 120 to 130). */
  readonly cap?: number;
  readonly window?: TrainingOptions["window"];
  readonly lift?: TrainingOptions["lift"];
};

/** Lift B. The warm-up is short, so that a machine that has only just been connected is scored too. */
export const lifeLift: DegradationLift = {
  kind: "degradation",
  averages: [0.3, 0.1, 0.04],
  slopeRows: 30,
  baselineRows: 20,
  warmupRows: 9,
};

/**
 * Trains a ridge head that predicts remaining life in units, limited to [0, cap], from runs that ended in failure.
 * Bandwidth, seed and penalty are chosen by cross-validation grouped by run; loss is the RMSE on the capped life of all held-out
 * windows. Deterministic.
 * @throws {PipelineError} TRAINING_IMPOSSIBLE when a run has no failure, or there are too few runs or windows
 */
export async function trainRemainingLife(options: RemainingLifeOptions): Promise<TrainedHead> {
  const { unitMs, cap = 125, fourierWidth = 256, onProgress } = options;
  const { bandwidths = [0.2, 0.3, 0.4, 0.55], penalties = [10, 30, 100, 300, 1000], folds = 5 } = options;
  const window = options.window ?? { lengthMs: unitMs, hopMs: unitMs, latenessMs: 0 };
  const censored = options.runs.find((run) => run.failureMs === null);
  if (censored) {
    throw new PipelineError("TRAINING_IMPOSSIBLE", `run ${censored.machine} has no failure to count down to`, {
      machine: censored.machine,
    });
  }
  onProgress?.("regimes, lift and standardisation", 0);
  await breathe();
  const { windows, candidates } = prepareTraining({ ...options, window, lift: options.lift ?? lifeLift, fourierWidth, bandwidths });
  const fold = foldOfWindows(windows, options.runs.length, folds);
  const target = windows.endMs.map((endMs, i) => Math.min((options.runs[windows.run[i]!]!.failureMs! - endMs) / unitMs, cap));
  const cv: CvEntry[] = [];
  let best: (Pick<TrainedHead, "featureSet" | "chosen" | "steps"> & { sums: Float64Array }) | null = null;
  for (const [c, featureSet] of candidates.entries()) {
    const { bandwidth = null, seed = null } = featureSet.fourier ?? {};
    onProgress?.(
      bandwidth === null ? "cross-validation" : `cross-validation, bandwidth ${bandwidth}, seed ${seed}`,
      (c + 1) / (candidates.length + 1),
    );
    await breathe();
    const examples = encodeWindows(windows, featureSet);
    const { rmse, sums } = await crossValidateRidge(examples, fold, target, penalties, [0, cap]);
    for (const [p, penalty] of penalties.entries()) {
      const entry = { bandwidth, seed, penalty, loss: rmse[p]! };
      cv.push(entry);
      if (!best || entry.loss < best.chosen.loss) best = { featureSet, chosen: entry, steps: examples.steps, sums };
    }
  }
  if (!best) throw new RangeError("the grid of bandwidths, seeds and penalties is empty");
  const { weights, bias } = solveRidge(best.sums, best.steps, best.chosen.penalty);
  onProgress?.("trained", 1);
  return {
    featureSet: best.featureSet,
    head: { weights: [[...weights]], bias: [bias] },
    steps: best.steps,
    cv,
    chosen: best.chosen,
    machines: options.runs.length,
    windows: windows.count,
    counters: windows.counters,
  };
}
