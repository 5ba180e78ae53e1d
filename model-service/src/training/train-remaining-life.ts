import { PipelineError } from "@smile/errors/pipeline-error";
import type { DegradationLift, FeatureSet } from "@smile/features/spec";
import { type CvEntry, chooseSetting } from "./choose-setting.ts";
import { crossValidateRidge } from "./cross-validate-ridge.ts";
import { encodeWindows } from "./examples.ts";
import { type LinearOutput, solveRidge } from "./penalised-least-squares.ts";
import { foldOfWindows, prepareTraining, type TrainingOptions } from "./prepare-training.ts";
import type { TrainedHead } from "./trained-head.ts";
import { breathe } from "./training-run.ts";

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
 * Bandwidth, seed and penalty are chosen by cross-validation grouped by run (see `chooseSetting`); loss is the RMSE on the capped
 * life of all held-out windows. Deterministic.
 * @throws {PipelineError} TRAINING_IMPOSSIBLE when a run has no failure, or there are too few runs or windows
 */
export async function trainRemainingLife(options: RemainingLifeOptions): Promise<TrainedHead> {
  const { unitMs, cap = 125, fourierWidth = 256, onProgress } = options;
  const { bandwidths = [0.3, 0.4, 0.55, 0.75], penalties = [1, 3, 10, 30, 100, 300], folds = 10 } = options;
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
  const target = windows.endMs.map((endMs, i) => {
    const remaining = (options.runs[windows.run[i]!]!.failureMs! - endMs) / unitMs;
    return Math.min(Math.max(remaining, 0), cap); // the window that covers the failure may end after it
  });
  const tried: (CvEntry & { fit: () => { featureSet: FeatureSet; steps: Float64Array; output: LinearOutput } })[] = [];
  for (const [c, featureSet] of candidates.entries()) {
    const { bandwidth = null, seed = null } = featureSet.fourier ?? {};
    const what = bandwidth === null ? "cross-validation" : `cross-validation, bandwidth ${bandwidth}, seed ${seed}`;
    onProgress?.(what, (c + 1) / (candidates.length + 1));
    await breathe();
    const examples = encodeWindows(windows, featureSet);
    const { steps } = examples;
    const { losses, sums } = await crossValidateRidge(examples, windows.run, fold, target, penalties, [0, cap]);
    for (const [p, penalty] of penalties.entries()) {
      const fit = () => ({ featureSet, steps, output: solveRidge(sums, steps, penalty) });
      tried.push({ bandwidth, seed, penalty, ...losses[p]!, fit });
    }
  }
  const { fit, ...chosen } = chooseSetting(tried);
  const { featureSet, steps, output } = fit();
  onProgress?.("trained", 1);
  return {
    featureSet,
    head: { weights: [[...output.weights]], bias: [output.bias] },
    steps,
    cv: tried.map(({ fit: _, ...entry }) => entry),
    chosen,
    machines: options.runs.length,
    windows: windows.count,
    counters: windows.counters,
  };
}
