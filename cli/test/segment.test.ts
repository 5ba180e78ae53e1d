import { createWriteStream, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { workforceCsv } from "@smile/simulators/workforce/workforce-csv";
import { workforceMapping } from "@smile/simulators/workforce/workforce-mapping";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { smile } from "../../test/support/smile-process.ts";

const ibm = join(
  process.env.SMILE_DATA ?? resolve(import.meta.dirname, "../../../shared/data"),
  "ibm-hr-attrition/WA_Fn-UseC_-HR-Employee-Attrition.csv",
);
const missing = !existsSync(ibm);

const folder = mkdtempSync(join(tmpdir(), "smile-segment-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);
const lastLine = (text: string) => JSON.parse(text.trimEnd().split("\n").at(-1)!);

describe("smile segment run", () => {
  beforeAll(async () => {
    await pipeline(workforceCsv({ seed: 5, employees: 900 }), createWriteStream(file("workforce.csv")));
    writeFileSync(file("mapping.json"), JSON.stringify(workforceMapping));
  });

  it.skipIf(missing)(
    `segments IBM's HR file under encryption as the integer head does, and as float k-means nearly does${missing ? ` (SKIPPED: no ${ibm}; set SMILE_DATA)` : ""}`,
    async () => {
      const { stdout, code } = await smile(["segment", "run", "--data", ibm, "--json"]);
      expect(code).toBe(0);
      const report = lastLine(stdout);
      expect(report).toMatchObject({ records: 1470, missing: 0, duplicated: 0, mismatches: 0, withheld: 0 });
      expect(report.adjustedRandIndex).toBeGreaterThanOrEqual(0.98);
      expect(report.silhouette).toBeGreaterThan(0.05);
      expect(report.segments.reduce((sum: number, size: number) => sum + size, 0)).toBe(1470);
    },
  );

  it("takes a mapping of one's own, a key per gateway and a sanitised model, and says in words what sets the segments apart", async () => {
    const own = ["--data", file("workforce.csv"), "--features", file("mapping.json"), "--segments", "6"];
    const { stdout, code } = await smile(["segment", "run", ...own, "--key-mode", "symmetric", "--privacy", "sanitised"]);
    expect(code).toBe(0);
    expect(stdout.match(/^Segment \d, \d+ records \(\d+ %\): .*(higher|lower)/gm)).toHaveLength(6);
    expect(stdout).toContain("900 records, 0 missing, 0 duplicated, 0 unlike the plaintext model");
  });

  it("shows no segment that has fewer people than the minimum, nor what would tell its size", async () => {
    const own = ["--data", file("workforce.csv"), "--features", file("mapping.json"), "--segments", "6"];
    const all = lastLine((await smile(["segment", "run", ...own, "--json"])).stdout);
    const sizes: number[] = all.segments.toSorted((a: number, b: number) => a - b);
    const { stdout } = await smile(["segment", "run", ...own, "--minimum", String(sizes[0]! + 1), "--json"]);
    const report = lastLine(stdout);
    expect(report.withheld).toBeGreaterThanOrEqual(2);
    expect(report.segments.every((size: number) => size > sizes[0]!)).toBe(true);
  });

  it("refuses an identifier as a feature, a sensitive column without a permission, and a minimum below ten", async () => {
    const { identifier, ignored, columns } = workforceMapping;
    const sensitive = ignored.find((column) => /age|gender/i.test(column))!;
    const changed = (column: string) => ({
      ...workforceMapping,
      columns: [...columns, { column, kind: "numeric" }],
      ignored: ignored.filter((each) => each !== column),
    });
    for (const [column, code] of [
      [identifier, "IDENTIFIER_AS_FEATURE"],
      [sensitive, "SENSITIVE_COLUMN"],
    ] as const) {
      writeFileSync(file("changed.json"), JSON.stringify(changed(column)));
      const refused = await smile(["segment", "run", "--data", file("workforce.csv"), "--features", file("changed.json")]);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(code)]);
    }
    const few = await smile(["segment", "run", "--data", file("workforce.csv"), "--minimum", "2"]);
    expect([few.code, few.stderr]).toEqual([1, expect.stringContaining("whole number from 10")]);
  });
});
