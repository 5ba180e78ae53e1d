import { largestFeature } from "../quantisation-steps.ts";
import type { CategoricalColumn, RecordColumn, RecordFeatureSet } from "./record-spec.ts";

/** What each feature of a record tells: its column and, for a category, which one. */
export type RecordFeature = { readonly column: RecordColumn; readonly category: number | null };

/** [F] In the order of the features. */
export function recordFeatures(set: Pick<RecordFeatureSet, "columns">): RecordFeature[] {
  return set.columns.flatMap((column): RecordFeature[] =>
    column.kind === "categorical" ? column.values.map((_, category) => ({ column, category })) : [{ column, category: null }],
  );
}

/** [F] For people: the column, or "column = category". */
export function recordFeatureNames(set: Pick<RecordFeatureSet, "columns">): string[] {
  return set.columns.flatMap((column) =>
    column.kind === "categorical" ? column.values.map((value) => `${column.column} = ${value}`) : [column.column],
  );
}

/** What one unit of every integer feature stands for, in deviations times weight. */
export function recordStep({ clip, columns, quantise }: Pick<RecordFeatureSet, "clip" | "columns" | "quantise">): number {
  return (clip * columns.reduce((most, { weight }) => Math.max(most, weight), 0)) / largestFeature(quantise.bits);
}

/** Square root of the summed variances of a categorical column's features before they are standardised. */
export function categoricalDeviation({ shares }: Pick<CategoricalColumn, "shares">): number {
  return Math.sqrt(shares.reduce((sum, share) => sum + share * (1 - share), 0));
}
