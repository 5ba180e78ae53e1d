import { expect, it } from "vitest";
import { FLEET_SENSORS } from "../src/sensors.ts";
import { type TrainingHistory, trainingHistories } from "../src/training-histories.ts";

const stepMs = 1000;
const windowRows = 16;
const horizonMs = 48 * stepMs;

/** Mean, last, slope and deviation of each sensor over the last 16 rows, every 6 rows, and whether the machine fails within 48. */
function examples(histories: readonly TrainingHistory[]): { x: number[]; fails: boolean }[] {
  return histories.flatMap(({ rows, timeToFailureMs }) => {
    const found: { x: number[]; fails: boolean }[] = [];
    for (let end = windowRows; end <= rows.length; end += 6) {
      const x = FLEET_SENSORS.flatMap((sensor) => describe(rows.slice(end - windowRows, end).map((row) => row.values[sensor]!)));
      found.push({ x: [...x, 1], fails: timeToFailureMs[end - 1]! <= horizonMs });
    }
    return found;
  });
}

function describe(values: readonly number[]): number[] {
  const centre = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const slope = values.reduce((sum, value, i) => sum + (i - centre) * (value - mean), 0);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return [mean, values.at(-1)!, slope, deviation];
}

/** Logistic regression with a small ridge, by iteratively reweighted least squares. */
function fitLogistic(x: readonly number[][], y: readonly boolean[]): number[] {
  let weights: number[] = Array(x[0]!.length).fill(0);
  for (let round = 0; round < 8; round++) {
    const importance: number[] = [];
    const target: number[] = [];
    x.forEach((row, n) => {
      const score = dot(row, weights);
      const probability = 1 / (1 + Math.exp(-score));
      importance[n] = probability * (1 - probability) + 1e-6;
      target[n] = score + ((y[n] ? 1 : 0) - probability) / importance[n]!;
    });
    weights = solveWeighted(x, target, importance);
  }
  return weights;
}

/** Weighted least squares by Gaussian elimination of the normal equations. */
function solveWeighted(x: readonly number[][], y: readonly number[], importance: readonly number[]): number[] {
  const width = x[0]!.length;
  const rows = Array.from({ length: width }, (_, i) => [
    ...Array(width)
      .fill(0)
      .fill(1, i, i + 1),
    0,
  ]);
  x.forEach((row, n) => {
    for (let i = 0; i < width; i++) {
      const weighted = importance[n]! * row[i]!;
      for (let j = 0; j < width; j++) rows[i]![j] += weighted * row[j]!;
      rows[i]![width] += weighted * y[n]!;
    }
  });
  for (let i = 0; i < width; i++) {
    for (let k = 0; k < width; k++) {
      if (k === i) continue;
      const factor = rows[k]![i]! / rows[i]![i]!;
      for (let j = i; j <= width; j++) rows[k]![j] -= factor * rows[i]![j]!;
    }
  }
  return rows.map((row, i) => row[width]! / row[i]!);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

/** The chance that a window before a failure scores above one that is not (Mann and Whitney). */
function rocAuc(scores: readonly number[], positive: readonly boolean[]): number {
  const order = scores.map((_, i) => i).sort((a, b) => scores[a]! - scores[b]!);
  let rankSum = 0;
  order.forEach((i, rank) => {
    if (positive[i]) rankSum += rank + 1;
  });
  const positives = positive.filter(Boolean).length;
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * (positive.length - positives));
}

it("lets a linear head foretell failures within 48 steps well, while no single sensor does", () => {
  const train = examples(trainingHistories({ seed: 100, machines: 60, stepMs }));
  const test = examples(trainingHistories({ seed: 1, machines: 40, stepMs }));
  const width = train[0]!.x.length - 1;
  const standard = Array.from({ length: width }, (_, j) => {
    const mean = train.reduce((sum, { x }) => sum + x[j]!, 0) / train.length;
    return { mean, deviation: Math.sqrt(train.reduce((sum, { x }) => sum + (x[j]! - mean) ** 2, 0) / train.length) };
  });
  const scale = (x: readonly number[]) =>
    x.map((value, j) => (j === width ? 1 : Math.max(-4, Math.min(4, (value - standard[j]!.mean) / standard[j]!.deviation))));
  const weights = fitLogistic(
    train.map(({ x }) => scale(x)),
    train.map(({ fails }) => fails),
  );
  const fails = test.map((example) => example.fails);
  const scores = test.map(({ x }) => dot(scale(x), weights));
  expect(rocAuc(scores, fails)).toBeGreaterThan(0.97);
  FLEET_SENSORS.forEach((_, s) => {
    const alone = test.map(({ x }) => x[4 * s]!);
    expect(rocAuc(alone, fails)).toBeLessThan(0.95);
  });
});
