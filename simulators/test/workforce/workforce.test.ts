import { fitRecordFeatureSet } from "@smile/features/records/fit-record-feature-set";
import { encodeRecord } from "@smile/features/records/record-encoder";
import { recordFeatureCount } from "@smile/features/records/record-feature-count";
import { parse } from "csv-parse/sync";
import { describe, expect, it } from "vitest";
import { moves, NEWCOMERS, plantedSegments } from "../../src/workforce/planted-segments.ts";
import { type SimulatedEmployee, type WorkforceOptions, workforce } from "../../src/workforce/workforce.ts";
import { categories, orders, quantities, workforceColumns } from "../../src/workforce/workforce-columns.ts";
import { PLANTED_SEGMENT, workforceCsv } from "../../src/workforce/workforce-csv.ts";
import { workforceMapping } from "../../src/workforce/workforce-mapping.ts";

const people = (options: Partial<WorkforceOptions> = {}) => [...workforce({ seed: 11, employees: 2000, ...options })];
const numbers = (of: readonly SimulatedEmployee[], column: string) =>
  of
    .map(({ record }) => record[column]!)
    .filter((text) => text !== "")
    .map(Number);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("a simulated workforce", () => {
  it("is the same for the same seed, person by person, however many there are", () => {
    expect(people({ employees: 30 })).toEqual(people({ employees: 60 }).slice(0, 30));
    expect(people({ employees: 30, seed: 12 })).not.toEqual(people({ employees: 30 }));
  });

  it("has the columns of a personnel file, in one order, with an identifier that names each person once", () => {
    const all = people();
    expect(all.every(({ record }) => Object.keys(record).join() === workforceColumns.join())).toBe(true);
    expect(new Set(all.map(({ record }) => record.employee_id)).size).toBe(all.length);
  });

  it("plants segments in their shares, apart in the columns that make them", () => {
    const all = people({ employees: 5000 });
    plantedSegments.forEach(({ share }, segment) => {
      expect(all.filter((one) => one.segment === segment).length / all.length).toBeCloseTo(share, 1);
    });
    const newcomers = all.filter(({ segment }) => segment === NEWCOMERS);
    expect(mean(numbers(newcomers, "tenure_years"))).toBeLessThan(0.4 * mean(numbers(all, "tenure_years")));
  });

  it("keeps quantities within their limits and leaves out about as many values as it should", () => {
    const all = people();
    for (const { column, lowest = -Infinity, highest = Infinity, missing = 0 } of quantities) {
      const known = numbers(all, column);
      expect(known.every((value) => value >= lowest && value <= highest)).toBe(true);
      expect(Math.abs(1 - known.length / all.length - missing)).toBeLessThan(0.02);
    }
    for (const { column, values } of orders)
      expect(all.every(({ record }) => record[column] === "" || values.includes(record[column]!))).toBe(true);
  });

  it("drifts from period to period: some leave, some change segment, most stay who they were", () => {
    const [before, after] = [people(), people({ period: 4 })];
    const stayed = before.filter(({ record }, i) => record.employee_id === after[i]!.record.employee_id).length;
    expect(stayed / before.length).toBeGreaterThan(0.7);
    expect(stayed / before.length).toBeLessThan(0.8);
    const moved = before.filter(
      ({ record, segment }, i) => record.employee_id === after[i]!.record.employee_id && segment !== after[i]!.segment,
    );
    expect(moved.length / stayed).toBeGreaterThan(0.1);
    expect(moved.length / stayed).toBeLessThan(0.25);
    expect(mean(numbers(after, "monthly_salary"))).toBeGreaterThan(1.05 * mean(numbers(before, "monthly_salary")));
    expect(mean(numbers(after, "engagement_score"))).toBeLessThan(mean(numbers(before, "engagement_score")));
  });

  it("has a mapping of 48 features that uses no sensitive column and under which every value is understood", () => {
    const all = people();
    const { featureSet, permitted, rare } = fitRecordFeatureSet(
      workforceMapping,
      all.map(({ record }) => record),
    );
    expect({ permitted, rare, width: recordFeatureCount(featureSet) }).toEqual({ permitted: [], rare: {}, width: 48 });
    const gaps = all.map(({ record }) => encodeRecord(featureSet, record));
    expect(gaps.every(({ unknown }) => unknown === 0)).toBe(true);
    expect(mean(gaps.map(({ missing }) => missing))).toBeGreaterThan(0.3);
  });

  it("refuses numbers that make no sense", () => {
    for (const options of [{ employees: 0 }, { employees: 1.5 }, { period: -1 }, { noise: 0 }])
      expect(() => people(options)).toThrow(RangeError);
  });
});

describe("the planted segments", () => {
  it("name only columns there are, and chances that add up to 1", () => {
    const known = [...quantities, ...orders].map(({ column }) => column);
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    for (const { shifts, chances } of plantedSegments) {
      expect(Object.keys(shifts).filter((column) => !known.includes(column))).toEqual([]);
      for (const [column, list] of Object.entries(chances)) {
        expect(list).toHaveLength(categories[column as keyof typeof categories].length);
        expect(sum(list)).toBeCloseTo(1, 9);
      }
    }
    expect(sum(plantedSegments.map(({ share }) => share))).toBeCloseTo(1, 9);
    moves.forEach((row, segment) => {
      expect(row).toHaveLength(plantedSegments.length);
      expect(row[segment]).toBe(0);
      expect(sum(row)).toBeCloseTo(1, 9);
    });
  });
});

describe("a workforce as CSV", () => {
  it("reads back as it was made, with the truth where it is asked for", async () => {
    const lines = await Array.fromAsync(workforceCsv({ seed: 11, employees: 40, truth: true }));
    expect(lines).toHaveLength(41);
    const read = parse(lines.join(""), { columns: true }) as Record<string, string>[];
    const made = people({ employees: 40 });
    expect(read).toEqual(made.map(({ record, segment }) => ({ ...record, [PLANTED_SEGMENT]: String(segment) })));
  });

  it("keeps the truth to itself otherwise", async () => {
    const [header] = await Array.fromAsync(workforceCsv({ seed: 11, employees: 1 }));
    expect(header).toBe(`${workforceColumns.join(",")}\r\n`);
  });

  it("is made while it is read: the first lines of a million cost no more than those of ten", async () => {
    const lines = workforceCsv({ seed: 11, employees: 1_000_000 });
    for (let i = 0; i < 10; i++) expect((await lines.next()).done).toBe(false);
    expect((await lines.return()).done).toBe(true);
  });
});
