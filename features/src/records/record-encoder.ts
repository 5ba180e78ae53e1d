import { checkRecordFeatureSet } from "./check-record-feature-set.ts";
import { recordFeatureCount } from "./record-feature-count.ts";
import { categoricalDeviation, recordStep } from "./record-features.ts";
import type { RecordColumn, RecordFeatureSet, RecordValues } from "./record-spec.ts";
import { isMissing, parseDecimal } from "./record-values.ts";

/** How many columns had no value, and how many one that the feature set does not know (an unlisted category, no number). */
export type RecordGaps = { readonly missing: number; readonly unknown: number };

/** Writes a column's features for a known value and returns true; false for a value that it does not know. */
type WriteColumn = (text: string, values: Float64Array) => boolean;
type ColumnPlan = { readonly column: string; readonly write: WriteColumn };

/**
 * Record -> standardise, clip, weigh -> integers. Stateless between records. A missing or unknown value contributes 0, the typical
 * value of its column, so that it moves a record neither here nor there.
 */
export class RecordEncoder {
  /** F. */
  readonly width: number;
  readonly #plans: readonly ColumnPlan[];
  readonly #perStep: number;
  readonly #values: Float64Array;

  /** @throws {PipelineError} DOCUMENT_INVALID naming the field that records cannot be encoded with */
  constructor(set: RecordFeatureSet) {
    checkRecordFeatureSet(set);
    this.width = recordFeatureCount(set);
    this.#values = new Float64Array(this.width);
    this.#perStep = 1 / recordStep(set);
    let offset = 0;
    this.#plans = set.columns.map((column) => {
      const plan = { column: column.column, write: writer(column, set.clip, offset) };
      offset += recordFeatureCount({ columns: [column] });
      return plan;
    });
  }

  /** @param out [F] at least from `offset` on; receives integers in [-(2^(bits-1) - 1), 2^(bits-1) - 1] */
  encode(record: RecordValues, out: Int32Array | Int16Array | Int8Array, offset = 0): RecordGaps {
    const gaps = this.standardise(record, this.#values);
    for (let f = 0; f < this.width; f++) out[offset + f] = Math.round(this.#values[f]! * this.#perStep);
    return gaps;
  }

  /**
   * The record before it is rounded: what a floating-point model works on. Feature f is about `recordStep` times the integer.
   * @param out [F] receives deviations times weight
   */
  standardise(record: RecordValues, out: Float64Array): RecordGaps {
    let missing = 0;
    let unknown = 0;
    out.fill(0);
    for (const { column, write } of this.#plans) {
      const text = (Object.hasOwn(record, column) ? record[column] : undefined)?.trim() ?? "";
      if (write(text, out)) continue;
      if (isMissing(text)) missing++;
      else unknown++;
    }
    return { missing, unknown };
  }
}

const encoders = new WeakMap<RecordFeatureSet, RecordEncoder>();

/**
 * One record as integers [F].
 * @throws {PipelineError} DOCUMENT_INVALID when the feature set itself is no use
 */
export function encodeRecord(set: RecordFeatureSet, record: RecordValues): RecordGaps & { readonly features: Int32Array } {
  let encoder = encoders.get(set);
  if (encoder === undefined) {
    encoder = new RecordEncoder(set);
    encoders.set(set, encoder);
  }
  const features = new Int32Array(encoder.width);
  return { features, ...encoder.encode(record, features) };
}

function writer(column: RecordColumn, clip: number, offset: number): WriteColumn {
  const { weight } = column;
  const weigh = (value: number) => Math.min(clip, Math.max(-clip, value)) * weight;
  if (column.kind === "numeric") {
    const { mean, deviation } = column;
    return (text, values) => {
      const value = parseDecimal(text);
      if (Number.isNaN(value)) return false;
      values[offset] = weigh((value - mean) / deviation);
      return true;
    };
  }
  const positions = new Map(column.values.map((value, position) => [value, position]));
  if (column.kind === "ordinal") {
    const levels = column.values.map((_, position) => weigh((position - column.mean) / column.deviation));
    return (text, values) => {
      const position = positions.get(text);
      if (position === undefined) return false;
      values[offset] = levels[position]!;
      return true;
    };
  }
  const deviation = categoricalDeviation(column);
  const without = column.shares.map((share) => weigh(-share / deviation));
  const within = column.shares.map((share) => weigh((1 - share) / deviation));
  return (text, values) => {
    const position = positions.get(text);
    if (position === undefined) return false;
    values.set(without, offset);
    values[offset + position] = within[position]!;
    return true;
  };
}
