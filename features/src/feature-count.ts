import { recordFeatureCount } from "./records/record-feature-count.ts";
import type { RecordFeatureSet } from "./records/record-spec.ts";
import type { DegradationLift, FeatureSet, StatisticsLift } from "./spec.ts";

/** Width of the lifted vector before random Fourier features are appended. */
export function liftWidth(lift: StatisticsLift | DegradationLift, sensors: number): number {
  return lift.kind === "statistics" ? sensors * lift.statistics.length : sensors * (lift.averages.length + 3) + 1;
}

/** F: how many integers one window or record becomes, and so how many coefficients one lane takes. */
export function featureCount(spec: Pick<FeatureSet, "lift" | "sensors" | "fourier"> | Pick<RecordFeatureSet, "columns">): number {
  if ("columns" in spec) return recordFeatureCount(spec);
  return liftWidth(spec.lift, spec.sensors.length) + (spec.fourier?.width ?? 0);
}
