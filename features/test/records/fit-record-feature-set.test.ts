import { describe, expect, it } from "vitest";
import { fitRecordFeatureSet } from "../../src/records/fit-record-feature-set.ts";
import { encodeRecord } from "../../src/records/record-encoder.ts";
import type { RecordMapping, RecordValues } from "../../src/records/record-spec.ts";
import { mixedMapping, mixedRecords, withColumn } from "./simple-records.ts";

const code = (expected: string, column?: string) =>
  expect.objectContaining({ code: expected, ...(column === undefined ? {} : { facts: expect.objectContaining({ column }) }) });
/** Looks random, is in (0, 1), and never changes. */
const noise = (i: number) => {
  const wave = Math.abs(Math.sin(i * 12.9898 + 4.1)) * 43758.5453;
  return wave - Math.floor(wave);
};

describe("fitting a record feature set", () => {
  it("learns means, deviations and shares, rounded", () => {
    const { featureSet, rare, records, permitted } = fitRecordFeatureSet(mixedMapping, mixedRecords(1200));
    expect({ rare, records, permitted }).toEqual({ rare: {}, records: 1200, permitted: [] });
    expect(featureSet).toEqual({
      kind: "record-feature-set",
      version: 1,
      name: "mixed",
      columns: [
        { kind: "numeric", column: "tenure", mean: 9.5, deviation: 5.8, weight: 1 },
        { kind: "ordinal", column: "grade", values: ["low", "mid", "high"], mean: 1, deviation: 0.82, weight: 1 },
        { kind: "categorical", column: "site", values: ["north", "south", "west"], shares: [0.5, 0.25, 0.25], weight: 1 },
      ],
      clip: 4,
      quantise: { bits: 8 },
    });
  });

  it("leaves missing values out of the means", () => {
    const records = mixedRecords(600).map((record, i) => (i % 3 === 0 ? { ...record, tenure: "" } : record));
    expect(fitRecordFeatureSet(mixedMapping, records).featureSet.columns[0]).toMatchObject({ mean: 9.5, deviation: 5.8 });
  });

  it("names no category that fewer than ten records share, even when the mapping lists it", () => {
    const { mapping, records } = withColumn("team", "categorical", (i) => (i < 9 ? "board" : i < 19 ? "legal" : "plant"));
    const listed = mapping.columns.map((column) =>
      column.column === "team" ? { ...column, values: ["board", "legal", "plant"] } : column,
    );
    for (const one of [mapping, { ...mapping, columns: listed }]) {
      const { featureSet, rare } = fitRecordFeatureSet(one, records);
      expect(featureSet.columns[3]).toMatchObject({ values: ["legal", "plant"], shares: [0.03, 0.95] });
      expect(rare).toEqual({ team: 1 });
      expect(encodeRecord(featureSet, records[0]!).unknown).toBe(1);
    }
  });

  it("publishes the same set with and without any one person, so that two sets cannot be differenced", () => {
    const pay = (i: number) => (2000 * Math.exp(1.2 * noise(i))).toFixed(0);
    const { mapping, records } = withColumn("pay", "numeric", pay, 1000);
    const all = JSON.stringify(fitRecordFeatureSet(mapping, records).featureSet);
    const changed = Array.from({ length: 100 }, (_, i) => records.toSpliced(i * 10, 1)).filter(
      (without) => JSON.stringify(fitRecordFeatureSet(mapping, without).featureSet) !== all,
    );
    expect(changed).toHaveLength(0);
  });

  it("refuses too few people", () => {
    expect(() => fitRecordFeatureSet(mixedMapping, mixedRecords(49))).toThrow(code("RECORDS_TOO_FEW"));
    expect(() => fitRecordFeatureSet(mixedMapping, [])).toThrow(code("RECORDS_TOO_FEW"));
  });

  it("says nothing of what a record holds when it refuses", () => {
    const { mapping, records } = withColumn("note", "categorical", (i) => `secret ${i}`);
    expect(() => fitRecordFeatureSet(mapping, records)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining("secret") }),
    );
  });
});

describe("a mapping that does not fit its file", () => {
  const change = (changes: Partial<RecordMapping>) => ({ ...mixedMapping, ...changes });
  const numeric = (column: string, rest = {}) => ({ column, kind: "numeric" as const, ...rest });
  const cases: [string, string, RecordMapping][] = [
    ["a column of the file that it does not name", "site", change({ columns: mixedMapping.columns.slice(0, 2) })],
    ["a feature that the file does not have", "wage", change({ columns: [...mixedMapping.columns, numeric("wage")] })],
    ["a column named twice", "tenure", change({ ignored: ["tenure"] })],
    ["an order without values", "grade", change({ columns: mixedMapping.columns.with(1, { column: "grade", kind: "ordinal" }) })],
    [
      "an order that most values are not in",
      "grade",
      change({ columns: mixedMapping.columns.with(1, { column: "grade", kind: "ordinal", values: ["low", "mid"] }) }),
    ],
    ["numbers with values", "tenure", change({ columns: mixedMapping.columns.with(0, numeric("tenure", { values: ["1"] })) })],
    ["a weight of nothing", "tenure", change({ columns: mixedMapping.columns.with(0, numeric("tenure", { weight: 0 })) })],
    ["text as numbers", "site", change({ columns: mixedMapping.columns.with(2, numeric("site")) })],
    ["a permission for what is no feature", "employee", change({ permissions: [{ column: "employee", reason: "a long enough reason" }] })],
    ["a permission without a reason", "tenure", change({ permissions: [{ column: "tenure", reason: "  because   " }] })],
  ];
  it.each(cases)("is refused for %s", (_, column, mapping) => {
    expect(() => fitRecordFeatureSet(mapping, mixedRecords(100))).toThrow(code("MAPPING_INVALID", column));
  });

  it("is refused for columns that single a few people out", () => {
    const only = (i: number) => (i === 7 ? "1" : "0");
    for (const kind of ["numeric", "categorical"] as const) {
      const { mapping, records } = withColumn("marked", kind, only);
      expect(() => fitRecordFeatureSet(mapping, records)).toThrow(code("MAPPING_INVALID", "marked"));
    }
    const { mapping, records } = withColumn("marked", "ordinal", only);
    const listed = mapping.columns.with(3, { column: "marked", kind: "ordinal", values: ["0", "1"] });
    expect(() => fitRecordFeatureSet({ ...mapping, columns: listed }, records)).toThrow(code("MAPPING_INVALID", "marked"));
  });

  it("is refused for an identifier that is missing or not unique", () => {
    const missing = mixedRecords(100).with(5, { ...mixedRecords(6)[5]!, employee: "" });
    const twice = mixedRecords(100).with(5, { ...mixedRecords(6)[5]!, employee: "e4" });
    for (const records of [missing, twice])
      expect(() => fitRecordFeatureSet(mixedMapping, records)).toThrow(code("MAPPING_INVALID", "employee"));
  });
});

describe("identifiers", () => {
  const shuffled = (i: number) => (i * 137) % 400;
  const cases: [string, string, "numeric" | "categorical", (i: number) => string][] = [
    ["personnel numbers in order", "code", "numeric", (i) => String(1000 + 3 * i)],
    ["personnel numbers in any order", "code", "numeric", (i) => String(1 + shuffled(i))],
    ["personnel numbers in any order, scaled", "code", "numeric", (i) => String(17 * i + 0.5)],
    ["personnel numbers with leading zeros", "code", "numeric", (i) => String(shuffled(i) * 7919).padStart(7, "0")],
    ["long random keys", "code", "numeric", (i) => String(10_000_000 + Math.floor(89_999_999 * noise(i)))],
    ["keys with letters", "code", "categorical", (i) => `P-${shuffled(i)}`],
    ["names of people", "who", "categorical", (i) => `Person ${String.fromCharCode(65 + (i % 26))} ${shuffled(i)}`],
    ["e-mail addresses, even shared ones", "contact", "categorical", (i) => `team${i % 5}@example.org`],
    ["telephone numbers", "contact", "categorical", (i) => `+49 30 ${1_234_567 + (i % 30)}`],
    ["bank accounts", "contact", "categorical", (i) => `DE89 3704 0044 0532 0130 ${10 + (i % 30)}`],
    ["a column by its name", "PersonalNummer", "numeric", (i) => String(i % 30)],
    ["a column by its name", "employee_id", "numeric", (i) => String(i % 30)],
    ["a column by its name", "E-Mail", "categorical", (i) => String(i % 3)],
    ["a column by its name", "Nachname", "categorical", (i) => String(i % 3)],
  ];
  it.each(cases)("never become features: %s (%s, %s)", (_, column, kind, value) => {
    const { mapping, records } = withColumn(column, kind, value);
    expect(() => fitRecordFeatureSet(mapping, records)).toThrow(code("IDENTIFIER_AS_FEATURE", column));
  });

  it("never become features by permission, nor under the identifier's own name", () => {
    const { mapping, records } = withColumn("code", "numeric", (i) => String(i));
    const permitted = { ...mapping, permissions: [{ column: "code", reason: "we would like to have it" }] };
    expect(() => fitRecordFeatureSet(permitted, records)).toThrow(code("IDENTIFIER_AS_FEATURE", "code"));
    const own = { ...mixedMapping, columns: [...mixedMapping.columns, { column: "employee", kind: "categorical" as const }] };
    expect(() => fitRecordFeatureSet(own, mixedRecords(100))).toThrow(code("IDENTIFIER_AS_FEATURE", "employee"));
  });

  it("are not mistaken for exact pay, which may be nearly unique in a small company", () => {
    const pay = (i: number) => (2000 + 9000 * noise(i)).toFixed(0);
    const { mapping, records } = withColumn("monthly pay", "numeric", pay, 150);
    expect(new Set(records.map((record) => record["monthly pay"])).size).toBeGreaterThan(145);
    expect(fitRecordFeatureSet(mapping, records).featureSet.columns).toHaveLength(4);
  });
});

describe("sensitive columns", () => {
  const columns: [string, string][] = [
    ["Age", "age"],
    ["age_band", "age"],
    ["Geburtsdatum", "age"],
    ["Over40", "age"],
    ["Gender", "gender"],
    ["SEX", "gender"],
    ["Geschlecht", "gender"],
    ["HealthScore", "health"],
    ["Krankheitstage", "health"],
    ["Grad der Behinderung", "health"],
    ["Religion", "religion"],
    ["Religionszugehörigkeit", "religion"],
    ["Ethnicity", "origin"],
    ["race", "origin"],
    ["Nationality", "origin"],
    ["Staatsangehörigkeit", "origin"],
    ["MaritalStatus", "family status"],
    ["Familienstand", "family status"],
    ["pregnant", "family status"],
    ["Schwangerschaft", "family status"],
    ["UnionMember", "union"],
    ["Gewerkschaft", "union"],
    ["sexual_orientation", "sexual orientation"],
    ["Sexuelle Orientierung", "sexual orientation"],
  ];
  it.each(columns)("%s is no feature without a permission (%s)", (column, kind) => {
    const { mapping, records } = withColumn(column, "numeric", (i) => String(i % 9));
    expect(() => fitRecordFeatureSet(mapping, records)).toThrow(
      expect.objectContaining({ code: "SENSITIVE_COLUMN", facts: { column, kind } }),
    );
    const reason = "equal-pay report agreed with the works council";
    const { permitted } = fitRecordFeatureSet({ ...mapping, permissions: [{ column, reason }] }, records);
    expect(permitted).toEqual([{ column, kind, reason }]);
  });

  const hidden: [string, string, readonly string[]][] = [
    ["gender", "x1", ["M", "F", "F", "M"]],
    ["gender", "x1", ["männlich", "weiblich", "divers", "Weiblich"]],
    ["family status", "x2", ["Single", "Married", "Divorced", "unknown"]],
    ["religion", "x3", ["rk", "ev", "keine", "ev"]],
  ];
  it.each(hidden)("%s is found by its values where the name hides it", (kind, column, values) => {
    const value = (i: number) => (i % 40 === 3 ? "slip" : values[i % 4]!);
    const { mapping, records } = withColumn(column, "categorical", value);
    expect(() => fitRecordFeatureSet(mapping, records)).toThrow(
      expect.objectContaining({ code: "SENSITIVE_COLUMN", facts: { column, kind } }),
    );
  });

  it.each([
    "Wage",
    "Management",
    "Percentage",
    "Shortage",
    "Essex plant",
    "trace",
    "Stage",
    "reunion days",
    "Gehalt",
    "Schalter",
    "TrainingTimesLastYear",
    "Manager",
  ])("harmless %s is no sensitive column", (column) => {
    const { mapping, records } = withColumn(column, "numeric", (i) => String(i % 9));
    expect(fitRecordFeatureSet(mapping, records).permitted).toEqual([]);
  });

  it("take a permission for what only the analyst knows to be sensitive", () => {
    const { mapping, records } = withColumn("x9", "numeric", (i) => String(i % 9));
    const permissions = [{ column: "x9", reason: "stands for days of sick leave" }];
    expect(fitRecordFeatureSet({ ...mapping, permissions }, records).permitted).toMatchObject([{ column: "x9", kind: "declared" }]);
  });

  it("stay out of the columns that the records carry without being asked for", () => {
    const records: RecordValues[] = mixedRecords(100).map((record) => ({ ...record, Gender: "f" }));
    expect(() => fitRecordFeatureSet(mixedMapping, records)).toThrow(code("MAPPING_INVALID", "Gender"));
    expect(fitRecordFeatureSet({ ...mixedMapping, ignored: ["Gender"] }, records).featureSet.columns).toHaveLength(3);
  });
});
