import { PipelineError } from "@smile/errors/pipeline-error";
import { nearestRegime } from "@smile/features/regime-normaliser";
import type { Regimes } from "@smile/features/spec";
import { clusterSettings } from "./cluster-settings.ts";
import type { TrainingRun } from "./training-run.ts";

/** Regimes, and the sensors that move in at least one of them; `regimes` has one column for each of those. */
export type FittedRegimes = { readonly regimes: Regimes; readonly sensors: readonly string[] };

/** Mean, deviation (of the population) and range of a sensor in a regime; Welford's running form. */
type Moments = { count: number; mean: number; squares: number; minimum: number; maximum: number };

/**
 * Finds the operating regimes in the settings of all rows, and each sensor's mean and deviation in each regime. Sensors that are
 * constant within every regime are left out: they say nothing that the regime does not. Where a sensor is constant in some regimes
 * only, its deviation there is that of the regimes where it moves.
 * Rows that lack a sensor or setting are passed over, as the edge refuses them.
 * @param clip of the normalised sensors
 * @throws {PipelineError} TRAINING_IMPOSSIBLE when no row is complete or no sensor moves
 */
export function fitRegimes(
  runs: readonly TrainingRun[],
  sensors: readonly string[],
  settings: readonly string[],
  clip: number,
): FittedRegimes {
  const found = clusterSettings(readSettings(runs, settings, sensors), settings.length);
  const moments = found.centroids.map(() =>
    sensors.map((): Moments => ({ count: 0, mean: 0, squares: 0, minimum: Number.POSITIVE_INFINITY, maximum: Number.NEGATIVE_INFINITY })),
  );
  const place = new Float64Array(settings.length);
  for (const { rows } of runs) {
    for (const { values } of rows) {
      if (!complete(values, settings) || !complete(values, sensors)) continue;
      for (let s = 0; s < settings.length; s++) place[s] = values[settings[s]!]!;
      const regime = moments[nearestRegime(found, place)]!;
      for (let s = 0; s < sensors.length; s++) add(regime[s]!, values[sensors[s]!]!);
    }
  }
  const inhabited = moments.map((_, r) => r).filter((r) => (moments[r]![0]?.count ?? 0) > 0);
  const moving = sensors.map((_, s) => s).filter((s) => inhabited.some((r) => moments[r]![s]!.maximum > moments[r]![s]!.minimum));
  if (moving.length === 0) {
    throw new PipelineError("TRAINING_IMPOSSIBLE", `none of the ${sensors.length} sensors moves in a complete row`, {
      sensors: sensors.length,
    });
  }
  const deviationElsewhere = moving.map((s) => {
    const deviations = inhabited.map((r) => deviation(moments[r]![s]!)).filter((value) => value > 0);
    return deviations.reduce((sum, value) => sum + value, 0) / deviations.length;
  });
  return {
    sensors: moving.map((s) => sensors[s]!),
    regimes: {
      settings,
      scale: found.scale,
      centroids: inhabited.map((r) => found.centroids[r]!),
      mean: inhabited.map((r) => moving.map((s) => moments[r]![s]!.mean)),
      deviation: inhabited.map((r) => moving.map((s, column) => deviation(moments[r]![s]!) || deviationElsewhere[column]!)),
      clip,
    },
  };
}

function complete(values: Readonly<Record<string, number>>, names: readonly string[]): boolean {
  return names.every((name) => Number.isFinite(values[name]));
}

function readSettings(runs: readonly TrainingRun[], settings: readonly string[], sensors: readonly string[]): number[][] {
  if (settings.length === 0) return [];
  const points: number[][] = [];
  for (const { rows } of runs) {
    for (const { values } of rows) {
      if (complete(values, settings) && complete(values, sensors)) points.push(settings.map((name) => values[name]!));
    }
  }
  return points;
}

function add(moments: Moments, value: number): void {
  moments.count++;
  const difference = value - moments.mean;
  moments.mean += difference / moments.count;
  moments.squares += difference * (value - moments.mean);
  if (value < moments.minimum) moments.minimum = value;
  if (value > moments.maximum) moments.maximum = value;
}

function deviation({ count, squares, minimum, maximum }: Moments): number {
  return maximum > minimum ? Math.sqrt(squares / count) : 0;
}
