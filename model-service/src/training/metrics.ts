function pairs(predicted: ArrayLike<number>, truth: ArrayLike<number | boolean>): number {
  if (predicted.length !== truth.length) throw new RangeError(`${predicted.length} predictions for ${truth.length} truths`);
  return predicted.length;
}

/** Root mean squared error, in the unit of its inputs; NaN for no pair. */
export function rmse(predicted: ArrayLike<number>, truth: ArrayLike<number>): number {
  const count = pairs(predicted, truth);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += (predicted[i]! - truth[i]!) ** 2;
  return Math.sqrt(sum / count);
}

/** RMSE of remaining life with both sides limited to [0, cap]: a life far off cannot be told from any other. */
export function rmseCapped(predicted: ArrayLike<number>, truth: ArrayLike<number>, cap: number): number {
  const limit = (values: ArrayLike<number>) => Array.from(values, (value) => Math.min(Math.max(value, 0), cap));
  return rmse(limit(predicted), limit(truth));
}

/**
 * NASA's score for remaining life in cycles (Saxena et al., PHM08, 2008), lower is better: with d = predicted - true, the sum of
 * exp(-d / 13) - 1 for d < 0 and exp(d / 10) - 1 otherwise. Too late costs more than too early.
 */
export function nasaScore(predicted: ArrayLike<number>, truth: ArrayLike<number>): number {
  const count = pairs(predicted, truth);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const difference = predicted[i]! - truth[i]!;
    sum += Math.expm1(difference < 0 ? -difference / 13 : difference / 10);
  }
  return sum;
}

/**
 * Area under the ROC curve: the chance that a positive scores above a negative, ties counting half (Mann and Whitney).
 * @param scores higher means more likely positive
 * @returns NaN unless there is at least one of each
 */
export function rocAuc(scores: ArrayLike<number>, positive: ArrayLike<boolean>): number {
  const count = pairs(scores, positive);
  const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => scores[a]! - scores[b]!);
  let positives = 0;
  let rankSum = 0;
  for (let from = 0; from < count; ) {
    let to = from;
    while (to < count && scores[order[to]!] === scores[order[from]!]) to++;
    const rank = (from + 1 + to) / 2; // mean of the ranks from + 1 to `to`
    for (let i = from; i < to; i++) {
      if (!positive[order[i]!]) continue;
      positives++;
      rankSum += rank;
    }
    from = to;
  }
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * (count - positives));
}

/** Precision and recall of calling every score at or above `threshold` positive; NaN where nothing is called, or is, positive. */
export function precisionRecall(
  scores: ArrayLike<number>,
  positive: ArrayLike<boolean>,
  threshold: number,
): { precision: number; recall: number } {
  const count = pairs(scores, positive);
  let [hits, called, positives] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const calls = scores[i]! >= threshold;
    if (calls) called++;
    if (positive[i]) positives++;
    if (calls && positive[i]) hits++;
  }
  return { precision: hits / called, recall: hits / positives };
}

export type RemainingLifeMetrics = {
  rmse: number;
  rmseCapped: number;
  nasaScore: number;
  auc: number;
  precision: number;
  recall: number;
};

/**
 * Everything said about remaining life, one prediction per machine. Predictions are limited to [0, cap] first; `rmse` and
 * `nasaScore` compare with the true life, `rmseCapped` with the capped one; `auc`, `precision` and `recall` judge "fails within
 * `horizon`", called when the prediction is at most `horizon`.
 * @param predicted,truth in cycles (or any one unit), like `cap` and `horizon`
 */
export function remainingLifeMetrics(
  predicted: ArrayLike<number>,
  truth: ArrayLike<number>,
  { cap, horizon }: { cap: number; horizon: number },
): RemainingLifeMetrics {
  const limited = Array.from(predicted, (value) => Math.min(Math.max(value, 0), cap));
  const failing = Array.from(truth, (life) => life <= horizon);
  const urgency = limited.map((life) => -life);
  return {
    rmse: rmse(limited, truth),
    rmseCapped: rmseCapped(limited, truth, cap),
    nasaScore: nasaScore(limited, truth),
    auc: rocAuc(urgency, failing),
    ...precisionRecall(urgency, failing, -horizon),
  };
}
