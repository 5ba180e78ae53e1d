import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeRecord, RecordEncoder } from "../../src/records/record-encoder.ts";
import { recordFeatureCount } from "../../src/records/record-feature-count.ts";
import { recordFeatureNames, recordFeatures, recordStep } from "../../src/records/record-features.ts";
import type { RecordFeatureSet } from "../../src/records/record-spec.ts";
import { mixedSet } from "./simple-records.ts";

const value = fc.oneof(
  fc.constantFrom("", " NA ", "low", "high", "north", "south", "west", "0x10", "1e999", "constructor", "-0"),
  fc.double().map(String),
  fc.string(),
);
const record = fc.dictionary(fc.constantFrom("tenure", "grade", "site", "other"), value);
const standardised = (set: RecordFeatureSet, one: Record<string, string>) => {
  const out = new Float64Array(recordFeatureCount(set));
  new RecordEncoder(set).standardise(one, out);
  return [...out];
};

describe("encoding a record", () => {
  it("standardises numbers, counts places of an order from 0, and centres categories on their shares", () => {
    const found = standardised(mixedSet, { tenure: "9", grade: "high", site: "south" });
    const deviation = Math.sqrt(0.5 * 0.5 + 0.25 * 0.75);
    expect(found).toEqual([1, 1, -0.5 / deviation, 0.75 / deviation]);
  });

  it("takes a column that is missing, or holds what it does not know, for typical, and counts it", () => {
    const none = { features: Int32Array.of(0, 0, 0, 0) };
    expect(encodeRecord(mixedSet, {})).toEqual({ ...none, missing: 3, unknown: 0 });
    expect(encodeRecord(mixedSet, { tenure: "N/A", grade: "?", site: " " })).toEqual({ ...none, missing: 3, unknown: 0 });
    expect(encodeRecord(mixedSet, { tenure: "3,5", grade: "top", site: "west" })).toEqual({ ...none, missing: 0, unknown: 3 });
    expect(encodeRecord(mixedSet, { tenure: "Infinity", grade: "Low", site: "toString" })).toEqual({ ...none, missing: 0, unknown: 3 });
  });

  it("trims values, and prefers a listed category to a mark for missing", () => {
    const set: RecordFeatureSet = {
      ...mixedSet,
      columns: [{ kind: "categorical", column: "region", values: ["EU", "NA"], shares: [0.6, 0.4], weight: 1 }],
    };
    expect(encodeRecord(set, { region: " NA " })).toMatchObject({ missing: 0, unknown: 0 });
    expect(encodeRecord(mixedSet, { tenure: " 9 " }).features[0]).toBe(Math.round(127 / 4));
  });

  it("clips before it weighs, so that no column counts for more than its weight allows", () => {
    expect(standardised(mixedSet, { tenure: "1e6" })[0]).toBe(4);
    expect(standardised(mixedSet, { tenure: "-1e6" })[0]).toBe(-4);
    const heavy: RecordFeatureSet = { ...mixedSet, columns: [mixedSet.columns[0]!, { ...mixedSet.columns[1]!, weight: 3 }] };
    expect(encodeRecord(heavy, { tenure: "1e6", grade: "high" }).features).toEqual(Int32Array.of(42, Math.round((2 * 3 * 127) / 12)));
  });

  it("gives integers within the bits, half a step from the standardised values at most, whatever the record holds", () => {
    fc.assert(
      fc.property(record, fc.integer({ min: 2, max: 16 }), (one, bits) => {
        const set = { ...mixedSet, quantise: { bits } };
        const { features, missing, unknown } = encodeRecord(set, one);
        const real = standardised(set, one);
        const step = recordStep(set);
        features.forEach((feature, f) => {
          expect(Math.abs(feature)).toBeLessThanOrEqual(2 ** (bits - 1) - 1);
          expect(Math.abs(feature * step - real[f]!)).toBeLessThanOrEqual(step / 2 + 1e-12);
        });
        expect(missing + unknown).toBeLessThanOrEqual(3);
      }),
      { seed: 21, numRuns: 500 },
    );
  });

  it("writes at an offset and leaves the rest alone", () => {
    const out = new Int16Array(6).fill(9);
    new RecordEncoder(mixedSet).encode({ tenure: "6", grade: "mid" }, out, 1);
    expect([...out]).toEqual([9, 0, 0, 0, 0, 9]);
  });

  it("encodes a million records in well under a minute", () => {
    const columns = Array.from({ length: 16 }, (_, i) => mixedSet.columns.map((column) => ({ ...column, column: `${column.column}${i}` })));
    const encoder = new RecordEncoder({ ...mixedSet, columns: columns.flat().slice(0, 36) });
    const one = Object.fromEntries(
      columns.flat().map(({ column, kind }) => [column, { numeric: "7.25", ordinal: "mid", categorical: "south" }[kind]]),
    );
    expect(encoder.width).toBe(48);
    const out = new Int32Array(encoder.width);
    const from = performance.now();
    for (let i = 0; i < 20_000; i++) encoder.encode(one, out);
    expect((performance.now() - from) * 50).toBeLessThan(60_000);
  });
});

describe("the features of a record", () => {
  it("have names that a person reads, one per number and one per category", () => {
    expect(recordFeatureCount(mixedSet)).toBe(4);
    expect(recordFeatureNames(mixedSet)).toEqual(["tenure", "grade", "site = north", "site = south"]);
    expect(recordFeatures(mixedSet).map(({ column, category }) => [column.column, category])).toEqual([
      ["tenure", null],
      ["grade", null],
      ["site", 0],
      ["site", 1],
    ]);
  });

  it.each([
    ["columns", { columns: [] }],
    ["columns", { columns: [mixedSet.columns[0]!, mixedSet.columns[0]!] }],
    ["columns[0].deviation", { columns: [{ ...mixedSet.columns[0]!, deviation: 0 }] }],
    ["columns[0].mean", { columns: [{ ...mixedSet.columns[0]!, mean: Number.NaN }] }],
    ["columns[0].weight", { columns: [{ ...mixedSet.columns[0]!, weight: -1 }] }],
    ["columns[0].values", { columns: [{ ...mixedSet.columns[1]!, values: ["one"] }] }],
    ["columns[0].values", { columns: [{ ...mixedSet.columns[1]!, values: ["one", "one"] }] }],
    ["columns[0].shares", { columns: [{ ...mixedSet.columns[2]!, shares: [0.5] }] }],
    ["columns[0].shares", { columns: [{ ...mixedSet.columns[2]!, shares: [0, 1] }] }],
    ["clip", { clip: 0 }],
    ["quantise.bits", { quantise: { bits: 17 } }],
  ])("are refused when %s is no use", (field, change) => {
    expect(() => encodeRecord({ ...mixedSet, ...change } as RecordFeatureSet, {})).toThrow(
      expect.objectContaining({ code: "DOCUMENT_INVALID", facts: { field } }),
    );
  });
});
