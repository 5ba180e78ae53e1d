import type { RecordFeatureSet, RecordMapping, RecordValues } from "../../src/records/record-spec.ts";

/** One column of each kind. */
export const mixedSet: RecordFeatureSet = {
  kind: "record-feature-set",
  version: 1,
  name: "mixed",
  columns: [
    { kind: "numeric", column: "tenure", mean: 6, deviation: 3, weight: 1 },
    { kind: "ordinal", column: "grade", values: ["low", "mid", "high"], mean: 1, deviation: 0.5, weight: 0.5 },
    { kind: "categorical", column: "site", values: ["north", "south"], shares: [0.5, 0.25], weight: 1 },
  ],
  clip: 4,
  quantise: { bits: 8 },
};

export const mixedMapping: RecordMapping = {
  name: "mixed",
  columns: [
    { column: "tenure", kind: "numeric" },
    { column: "grade", kind: "ordinal", values: ["low", "mid", "high"] },
    { column: "site", kind: "categorical" },
  ],
  identifier: "employee",
  ignored: [],
  permissions: [],
};

/** Records of `mixedMapping` whose values return in cycles of 20, 3 and 4. */
export function mixedRecords(count: number): RecordValues[] {
  return Array.from({ length: count }, (_, i) => ({
    employee: `e${i}`,
    tenure: String((i * 7) % 20),
    grade: ["low", "mid", "high"][i % 3]!,
    site: ["north", "north", "south", "west"][i % 4]!,
  }));
}

/** The mapping and records with one more column, a feature. */
export function withColumn(column: string, kind: "numeric" | "ordinal" | "categorical", value: (i: number) => string, count = 400) {
  const mapping: RecordMapping = { ...mixedMapping, columns: [...mixedMapping.columns, { column, kind }] };
  const records = mixedRecords(count).map((record, i): RecordValues => ({ ...record, [column]: value(i) }));
  return { mapping, records };
}
