import { setImmediate as nextTurn } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import { entryOf } from "./choose-setting.ts";
import { type Examples, encodeWindows, type LiftedWindows } from "./examples.ts";
import { fitLogistic } from "./logistic.ts";
import { type LinearOutput, perInteger } from "./penalised-least-squares.ts";
import { foldOfWindows, prepareTraining, type TrainingOptions } from "./prepare-training.ts";
import { searchSettings } from "./search-settings.ts";
import type { TrainedHead } from "./trained-head.ts";
import type { TrainingRun } from "./training-run.ts";

export type FailureRiskOptions = TrainingOptions & {
  /** A window is positive when its machine fails within so much event time after the window's end. */
  readonly horizonMs: number;
};

/**
 * Trains a logistic head: score = log odds that the machine fails within the horizon. Runs may end without a failure; their
 * windows count as negative as long as the record goes on for a horizon after them, and are left out later.
 * Bandwidth, seed and penalty are chosen by cross-validation grouped by run (see `chooseSetting`); loss is the mean negative
 * log-likelihood of held-out windows. Deterministic.
 * @throws {PipelineError} TRAINING_IMPOSSIBLE when there are too few runs or windows, or only one outcome
 */
export async function trainFailureRisk(options: FailureRiskOptions): Promise<TrainedHead> {
  const { runs, horizonMs, onProgress, fourierWidth = 0 } = options;
  const { bandwidths = [0.4, 0.75], seeds = [1], penalties = [1, 10, 100], folds = 5 } = options;
  onProgress?.("regimes, lift and standardisation", 0);
  await nextTurn();
  const { windows, featureSet } = prepareTraining(options);
  const fold = foldOfWindows(windows, runs.length, folds);
  const positive = labelWindows(windows, runs, horizonMs);
  const labelled = Int32Array.from(positive.keys()).filter((i) => !Number.isNaN(positive[i]!));
  const positives = labelled.reduce((sum, i) => sum + positive[i]!, 0);
  if (positives === 0 || positives === labelled.length) {
    const facts = { windows: labelled.length, positives };
    throw new PipelineError("TRAINING_IMPOSSIBLE", `${positives} of ${labelled.length} windows are followed by a failure`, facts);
  }
  const { tried, chosen } = await searchSettings({ width: fourierWidth, bandwidths, seeds }, onProgress, async (fourier) => {
    const examples = encodeWindows(windows, featureSet(fourier));
    const perRun = penalties.map(() => new Float64Array(runs.length));
    for (let held = 0; held < folds; held++) {
      const learn = labelled.filter((i) => fold[i] !== held);
      const judge = labelled.filter((i) => fold[i] === held);
      let output: LinearOutput | undefined;
      for (const [p, penalty] of penalties.entries()) {
        await nextTurn();
        output = fitLogistic(examples, learn, positive, penalty, output);
        addLosses(examples, judge, positive, windows.run, output, perRun[p]!);
      }
    }
    const { bandwidth = null, seed = null } = fourier ?? {};
    return penalties.map((penalty, p) => {
      const loss = perRun[p]!.reduce((sum, value) => sum + value, 0) / labelled.length;
      return { bandwidth, seed, penalty, loss, perRun: perRun[p]!, fourier };
    });
  });
  const examples = encodeWindows(windows, featureSet(chosen.fourier));
  const { weights, bias } = fitLogistic(examples, labelled, positive, chosen.penalty);
  onProgress?.("trained", 1);
  return {
    featureSet: featureSet(chosen.fourier),
    head: { weights: [[...weights]], bias: [bias] },
    steps: examples.steps,
    cv: tried.map(entryOf),
    chosen: entryOf(chosen),
    machines: runs.length,
    windows: labelled.length,
    counters: windows.counters,
  };
}

/** 1 where a failure follows within the horizon, 0 where none does, NaN where the record ends too soon to know. */
function labelWindows(windows: LiftedWindows, runs: readonly TrainingRun[], horizonMs: number): Float64Array {
  const lastMs = new Float64Array(runs.length).fill(Number.NEGATIVE_INFINITY);
  windows.run.forEach((run, i) => {
    lastMs[run] = Math.max(lastMs[run]!, windows.endMs[i]!);
  });
  return windows.endMs.map((endMs, i) => {
    const run = windows.run[i]!;
    const { failureMs } = runs[run]!;
    if (failureMs !== null) return failureMs - endMs <= horizonMs ? 1 : 0;
    return endMs + horizonMs <= lastMs[run]! ? 0 : Number.NaN;
  });
}

/** Adds each judged window's -log(chance of what happened) to its run. */
function addLosses(
  { features, steps }: Examples,
  judge: Int32Array,
  positive: Float64Array,
  run: Int32Array,
  output: LinearOutput,
  perRun: Float64Array,
): void {
  const weights = perInteger(output, steps);
  for (const i of judge) {
    let score = output.bias;
    for (let j = 0, at = i * steps.length; j < steps.length; j++, at++) score += weights[j]! * features[at]!;
    const margin = positive[i] === 1 ? score : -score;
    perRun[run[i]!]! += Math.log1p(Math.exp(-Math.abs(margin))) + Math.max(-margin, 0);
  }
}
