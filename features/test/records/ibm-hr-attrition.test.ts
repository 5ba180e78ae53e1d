import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse } from "csv-parse/sync";
import { describe, expect, it } from "vitest";
import { fitRecordFeatureSet } from "../../src/records/fit-record-feature-set.ts";
import { ibmHrAttrition } from "../../src/records/ibm-hr-attrition.ts";
import { encodeRecord } from "../../src/records/record-encoder.ts";
import { recordFeatureCount } from "../../src/records/record-feature-count.ts";
import type { RecordMapping } from "../../src/records/record-spec.ts";

const file = join(
  process.env.SMILE_DATA ?? resolve(import.meta.dirname, "../../../../shared/data"),
  "ibm-hr-attrition/WA_Fn-UseC_-HR-Employee-Attrition.csv",
);
const missing = !existsSync(file);
const why = missing ? ` (SKIPPED: no ${file}; set SMILE_DATA)` : "";
const read = () => parse(readFileSync(file), { columns: true, bom: true }) as Record<string, string>[];

describe.skipIf(missing)(`IBM's HR file${why}`, () => {
  it("has a mapping that ships: every record is encoded without a gap, and no permission is needed", () => {
    const records = read();
    const { featureSet, permitted, rare } = fitRecordFeatureSet(ibmHrAttrition, records);
    expect({ records: records.length, permitted, rare, width: recordFeatureCount(featureSet) }).toEqual({
      records: 1470,
      permitted: [],
      rare: {},
      width: 37,
    });
    const encoded = records.map((record) => encodeRecord(featureSet, record));
    expect(encoded.every(({ missing, unknown }) => missing === 0 && unknown === 0)).toBe(true);
  });

  const features = (column: string, kind: "numeric" | "categorical"): RecordMapping => ({
    ...ibmHrAttrition,
    columns: [...ibmHrAttrition.columns, { column, kind }],
    ignored: ibmHrAttrition.ignored.filter((ignored) => ignored !== column),
  });

  it.each([
    ["Age", "numeric"],
    ["Gender", "categorical"],
    ["MaritalStatus", "categorical"],
  ] as const)("gives up %s to nobody without a reason", (column, kind) => {
    const mapping = features(column, kind);
    expect(() => fitRecordFeatureSet(mapping, read())).toThrow(expect.objectContaining({ code: "SENSITIVE_COLUMN" }));
    const permissions = [{ column, reason: "agreed with the works council for this pilot" }];
    expect(fitRecordFeatureSet({ ...mapping, permissions }, read()).permitted).toMatchObject([{ column }]);
  });

  it("never turns employee numbers into a feature, under whatever name and in whatever order", () => {
    expect(() => fitRecordFeatureSet(features("EmployeeNumber", "numeric"), read())).toThrow(
      expect.objectContaining({ code: "IDENTIFIER_AS_FEATURE" }),
    );
    const renamed = read().map(({ EmployeeNumber, ...record }, row) => ({
      ...record,
      EmployeeNumber: `row ${row}`,
      Factor: EmployeeNumber!,
    }));
    for (const records of [
      renamed,
      renamed.toSorted((a, b) => (a.Factor < b.Factor ? -1 : 1)),
      renamed.toSorted((a, b) => a.Factor.length - b.Factor.length),
    ])
      for (const kind of ["numeric", "categorical"] as const)
        expect(() => fitRecordFeatureSet(features("Factor", kind), records)).toThrow(
          expect.objectContaining({ code: "IDENTIFIER_AS_FEATURE", facts: { column: "Factor" } }),
        );
  });
});
