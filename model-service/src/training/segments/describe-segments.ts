import { categoricalDeviation, recordFeatures, recordStep } from "@smile/features/records/record-features";
import type { RecordColumn, RecordFeatureSet } from "@smile/features/records/record-spec";
import type { Vector } from "./nearest-centroid.ts";

export type Level = "much lower" | "lower" | "typical" | "higher" | "much higher";

/** One thing that sets a segment apart from all records. */
export type SegmentTrait = {
  readonly column: string;
  /** The category that is more or less frequent; null for a number or an order. */
  readonly category: string | null;
  readonly level: Level;
  /** Distance from the mean of all records, in deviations of the column. */
  readonly deviations: number;
  readonly words: string;
};

export type SegmentProfile = {
  readonly segment: number;
  readonly size: number;
  /** Of all records. */
  readonly share: number;
  /** Three to five, the most telling first; fewer than three where the feature set has fewer columns. */
  readonly traits: readonly SegmentTrait[];
  /** One sentence. */
  readonly words: string;
};

const LEAST_TRAITS = 3;
const MOST_TRAITS = 5;
/** In deviations. Cohen's "medium" and "large" effects (Statistical Power Analysis, 1988). */
const NOTABLE = 0.5;
const LARGE = 0.8;

/**
 * What sets each segment apart, in words. It reads centroids only: nothing of a single record is in it.
 * @param centroids [K][F] in units of the integer features of `set`
 * @param sizes [K] records per segment
 */
export function describeSegments(set: RecordFeatureSet, centroids: readonly Vector[], sizes: readonly number[]): SegmentProfile[] {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const features = recordFeatures(set);
  return centroids.map((centroid, segment) => {
    if (centroid.length !== features.length) throw new RangeError(`a centroid of ${centroid.length} for ${features.length} features`);
    const all = features.map(({ column, category }, f) => trait(column, category, (centroid[f]! * recordStep(set)) / column.weight));
    const traits = mostTelling(all);
    const size = sizes[segment]!;
    const share = total === 0 ? 0 : size / total;
    const apart = traits.filter(({ level }) => level !== "typical");
    const what = apart.length === 0 ? "close to the average in every column" : apart.map(({ words }) => words).join("; ");
    return { segment, size, share, traits, words: `Segment ${segment + 1}, ${size} records (${percent(share)}): ${what}.` };
  });
}

/** The largest distances, one per column: of several categories of a column the most telling one speaks. */
function mostTelling(all: readonly SegmentTrait[]): SegmentTrait[] {
  const ordered = all.toSorted((a, b) => Math.abs(b.deviations) - Math.abs(a.deviations));
  const first = ordered.filter((one, i) => ordered.findIndex(({ column }) => column === one.column) === i);
  const notable = first.filter(({ level }) => level !== "typical").length;
  return first.slice(0, Math.min(MOST_TRAITS, Math.max(LEAST_TRAITS, notable)));
}

function trait(column: RecordColumn, category: number | null, deviations: number): SegmentTrait {
  const level = levelOf(deviations);
  const known = { column: column.column, level, deviations };
  if (column.kind === "categorical" && category !== null) {
    const typical = column.shares[category]!;
    const share = Math.min(1, Math.max(0, typical + deviations * categoricalDeviation(column)));
    const name = column.values[category]!;
    return { ...known, category: name, words: `${column.column} is ${name} for ${percent(share)} (typical ${percent(typical)})` };
  }
  const range = column.kind === "ordinal" ? column.values.length - 1 : Number.POSITIVE_INFINITY;
  const mean = column.kind === "categorical" ? 0 : column.mean + deviations * column.deviation;
  const place = (value: number) => ordinalPlace(column, Math.min(range, value));
  const typical = column.kind === "categorical" ? 0 : column.mean;
  const [own, all] = [place(mean), place(typical)];
  const figures = own === all ? "" : ` (about ${own}; typical ${all})`;
  const words = level === "typical" ? `${column.column} is typical` : `${column.column} is ${level}${figures}`;
  return { ...known, category: null, words };
}

/** A number, or the name of the place in the order that is nearest. */
function ordinalPlace(column: RecordColumn, value: number): string {
  if (column.kind !== "ordinal") return Number(value.toPrecision(2)).toLocaleString("en");
  if (column.values.every((name) => name.trim() !== "" && Number.isFinite(Number(name)))) {
    const [below, above] = [Math.floor(value), Math.ceil(value)].map((i) => Number(column.values[Math.max(0, i)]));
    return (below! + (above! - below!) * (value - Math.floor(value))).toFixed(1);
  }
  return `"${column.values[Math.min(column.values.length - 1, Math.max(0, Math.round(value)))]}"`;
}

function levelOf(deviations: number): Level {
  if (deviations >= LARGE) return "much higher";
  if (deviations >= NOTABLE) return "higher";
  if (deviations <= -LARGE) return "much lower";
  return deviations <= -NOTABLE ? "lower" : "typical";
}

const percent = (share: number) => `${Math.round(share * 100)} %`;
