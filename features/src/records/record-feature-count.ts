import type { RecordFeatureSet } from "./record-spec.ts";

/** F: how many integers one record becomes, and so how many coefficients one lane takes. */
export function recordFeatureCount(set: Pick<RecordFeatureSet, "columns">): number {
  return set.columns.reduce((sum, column) => sum + (column.kind === "categorical" ? column.values.length : 1), 0);
}
