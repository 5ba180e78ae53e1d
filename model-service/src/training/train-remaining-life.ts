import { setImmediate as nextTurn } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { DegradationLift } from "@smile/features/spec";
import { entryOf } from "./choose-setting.ts";
import { crossValidateRidge } from "./cross-validate-ridge.ts";
import { encodeWindows } from "./examples.ts";
import { solveRidge } from "./penalised-least-squares.ts";
import { foldOfWindows, prepareTraining, type TrainingOptions } from "./prepare-training.ts";
import { searchSettings } from "./search-settings.ts";
import type { TrainedHead } from "./trained-head.ts";

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
 * By default 300 Fourier features: 15 to 17 moving sensors make F 391 to 403, and up to 409 features leave five lanes in 2,048 slots.
 * Bandwidth, seed and penalty are chosen by cross-validation grouped by run (see `chooseSetting`); loss is the RMSE on the capped life
 * of all held-out windows. Deterministic.
 * @throws {PipelineError} TRAINING_IMPOSSIBLE when a run has no failure, or there are too few runs or windows
 */
export async function trainRemainingLife(options: RemainingLifeOptions): Promise<TrainedHead> {
  const { unitMs, cap = 125, fourierWidth = 300, onProgress } = options;
  const { bandwidths = [0.4, 0.55, 0.75], seeds = [1, 2, 3, 4], penalties = [1, 3, 10, 30, 100], folds = 5 } = options;
  const window = options.window ?? { lengthMs: unitMs, hopMs: unitMs, latenessMs: 0 };
  const censored = options.runs.find((run) => run.failureMs === null);
  if (censored) {
    throw new PipelineError("TRAINING_IMPOSSIBLE", `run ${censored.machine} has no failure to count down to`, {
      machine: censored.machine,
    });
  }
  onProgress?.("regimes, lift and standardisation", 0);
  await nextTurn();
  const { windows, featureSet } = prepareTraining({ ...options, window, lift: options.lift ?? lifeLift });
  const fold = foldOfWindows(windows, options.runs.length, folds);
  const target = windows.endMs.map((endMs, i) => {
    const remaining = (options.runs[windows.run[i]!]!.failureMs! - endMs) / unitMs;
    return Math.min(Math.max(remaining, 0), cap); // the window that covers the failure may end after it
  });
  const { tried, chosen } = await searchSettings({ width: fourierWidth, bandwidths, seeds }, onProgress, async (fourier) => {
    const examples = encodeWindows(windows, featureSet(fourier));
    const { losses, sums } = await crossValidateRidge(examples, windows.run, fold, target, penalties, [0, cap]);
    const { bandwidth = null, seed = null } = fourier ?? {};
    return penalties.map((penalty, p) => ({ bandwidth, seed, penalty, ...losses[p]!, fourier, steps: examples.steps, sums }));
  });
  const { weights, bias } = solveRidge(chosen.sums, chosen.steps, chosen.penalty);
  onProgress?.("trained", 1);
  return {
    featureSet: featureSet(chosen.fourier),
    head: { weights: [[...weights]], bias: [bias] },
    steps: chosen.steps,
    cv: tried.map(entryOf),
    chosen: entryOf(chosen),
    machines: options.runs.length,
    windows: windows.count,
    counters: windows.counters,
  };
}
