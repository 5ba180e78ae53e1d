import { PipelineError } from "@smile/errors/pipeline-error";
import { liftWidth } from "./feature-count.ts";
import type { FeatureSet, Regimes } from "./spec.ts";

/** The part of a feature set that decides a machine's state: everything up to the lifted vector. */
export type LiftSpec = Pick<FeatureSet, "sensors" | "window" | "regimes" | "lift">;

function refuse(field: string, rule: string): never {
  throw new PipelineError("DOCUMENT_INVALID", `feature set: ${field} ${rule}`, { field });
}

const positive = (value: number) => Number.isFinite(value) && value > 0;
const countingNumber = (value: number) => Number.isInteger(value) && value >= 1;

function checkList(field: string, list: readonly number[], length: number, allowed: (value: number) => boolean, rule: string): void {
  if (list.length !== length) refuse(field, `has ${list.length} entries; it needs ${length}`);
  if (!list.every(allowed)) refuse(field, `has an entry that is not ${rule}`);
}

function checkRegimes(regimes: Regimes, sensors: number): void {
  const { settings, centroids } = regimes;
  if (centroids.length === 0) refuse("regimes.centroids", "is empty; one regime needs one centroid");
  checkList("regimes.scale", regimes.scale, settings.length, positive, "a positive number");
  for (const name of ["mean", "deviation"] as const) {
    if (regimes[name].length !== centroids.length) refuse(`regimes.${name}`, `needs a row for each of ${centroids.length} centroids`);
  }
  centroids.forEach((centroid, r) => {
    checkList(`regimes.centroids[${r}]`, centroid, settings.length, Number.isFinite, "a finite number");
    checkList(`regimes.mean[${r}]`, regimes.mean[r]!, sensors, Number.isFinite, "a finite number");
    checkList(`regimes.deviation[${r}]`, regimes.deviation[r]!, sensors, positive, "a positive number");
  });
  if (!positive(regimes.clip)) refuse("regimes.clip", "is not a positive number");
}

/** @throws {PipelineError} DOCUMENT_INVALID naming the field that a lift cannot work with */
export function checkLiftSpec({ sensors, window, regimes, lift }: LiftSpec): void {
  if (sensors.length === 0) refuse("sensors", "is empty");
  if (new Set(sensors).size !== sensors.length) refuse("sensors", "names a sensor twice");
  if (!positive(window.lengthMs)) refuse("window.lengthMs", "is not a positive number");
  if (!positive(window.hopMs)) refuse("window.hopMs", "is not a positive number");
  if (!Number.isFinite(window.latenessMs) || window.latenessMs < 0) refuse("window.latenessMs", "is not zero or a positive number");
  if (regimes) checkRegimes(regimes, sensors.length);
  if (lift.kind === "statistics") {
    if (lift.statistics.length === 0) refuse("lift.statistics", "is empty");
    if (!countingNumber(lift.minimumRows)) refuse("lift.minimumRows", "is not a whole number from 1 on");
    return;
  }
  if (lift.averages.length === 0) refuse("lift.averages", "is empty");
  if (!lift.averages.every((factor) => factor > 0 && factor <= 1)) refuse("lift.averages", "has a factor outside (0, 1]");
  if (!countingNumber(lift.slopeRows)) refuse("lift.slopeRows", "is not a whole number from 1 on");
  if (!countingNumber(lift.baselineRows)) refuse("lift.baselineRows", "is not a whole number from 1 on");
  if (!Number.isInteger(lift.warmupRows) || lift.warmupRows < 0) refuse("lift.warmupRows", "is not a whole number from 0 on");
}

/** @throws {PipelineError} DOCUMENT_INVALID naming the field, its value being of no use to the lift or the quantisation */
export function checkFeatureSet(spec: FeatureSet): void {
  checkLiftSpec(spec);
  const width = liftWidth(spec.lift, spec.sensors.length);
  checkList("standardise.mean", spec.standardise.mean, width, Number.isFinite, "a finite number");
  checkList("standardise.deviation", spec.standardise.deviation, width, positive, "a positive number");
  if (!positive(spec.standardise.clip)) refuse("standardise.clip", "is not a positive number");
  if (spec.fourier) {
    if (!Number.isInteger(spec.fourier.seed)) refuse("fourier.seed", "is not a whole number");
    if (!countingNumber(spec.fourier.width)) refuse("fourier.width", "is not a whole number from 1 on");
    if (!positive(spec.fourier.bandwidth)) refuse("fourier.bandwidth", "is not a positive number");
  }
  const { bits } = spec.quantise;
  if (!Number.isInteger(bits) || bits < 2 || bits > 16) refuse("quantise.bits", `is ${bits}; it must be a whole number from 2 to 16`);
}
