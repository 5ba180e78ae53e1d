import { expect, it } from "vitest";
import { RecordGuard } from "../../src/records/record-guard.ts";
import type { RecordMapping, RecordValues } from "../../src/records/record-spec.ts";
import { mixedMapping, mixedRecords, mixedSet } from "./simple-records.ts";

const coded = (code: string, column: string) => expect.objectContaining({ code, facts: expect.objectContaining({ column }) });

function check(mapping: RecordMapping, records: readonly RecordValues[], set: typeof mixedSet = mixedSet) {
  const guard = new RecordGuard(mapping, set);
  for (const record of records) guard.add(record);
  return guard.check();
}

it("lets records through that are what the mapping says", () => {
  expect(check(mixedMapping, mixedRecords(400))).toEqual([]);
});

it("lets no feature set ask for a column that the mapping does not give, or gives as something else", () => {
  const [tenure, ...others] = mixedMapping.columns;
  const without = { ...mixedMapping, columns: others, ignored: ["tenure"] };
  expect(() => new RecordGuard(without, mixedSet)).toThrow(coded("MAPPING_INVALID", "tenure"));
  const otherwise = { ...mixedMapping, columns: [{ ...tenure!, kind: "categorical" as const }, ...others] };
  expect(() => new RecordGuard(otherwise, mixedSet)).toThrow(coded("MAPPING_INVALID", "tenure"));
});

it("finds names and sensitive values behind harmless names, as training does", () => {
  const keys = mixedRecords(400).map((record, i) => ({ ...record, tenure: String(700_000 + i) }));
  expect(() => check(mixedMapping, keys)).toThrow(coded("IDENTIFIER_AS_FEATURE", "tenure"));
  const genders = mixedRecords(400).map((record, i) => ({ ...record, site: i % 2 === 0 ? "female" : "male" }));
  expect(() => check(mixedMapping, genders)).toThrow(coded("SENSITIVE_COLUMN", "site"));
  const permissions = [{ column: "site", reason: "agreed with the works council" }];
  expect(check({ ...mixedMapping, permissions }, genders)).toMatchObject([{ column: "site", kind: "declared" }]);
});

it("tells only permissions of columns that are encoded, and refuses a file with columns that the mapping does not name", () => {
  const permissions = [{ column: "site", reason: "agreed with the works council" }];
  const set = { ...mixedSet, columns: mixedSet.columns.filter(({ column }) => column !== "site") };
  expect(check({ ...mixedMapping, permissions }, mixedRecords(50), set)).toEqual([]);
  const more = mixedRecords(50).map((record) => ({ ...record, salary: "1" }));
  expect(() => check(mixedMapping, more)).toThrow(coded("MAPPING_INVALID", "salary"));
});
