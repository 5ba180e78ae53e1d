import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cmapssSensors, loadCmapss, replayCmapss } from "../src/cmapss.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cmapss-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** A line as NASA writes it: two trailing spaces; sensor k reads 100 * unit + cycle + k / 100. */
const line = (unit: number, cycle: number) =>
  `${[unit, cycle, 0.5, 0.25, 100, ...cmapssSensors.map((_, k) => 100 * unit + cycle + (k + 1) / 100)].join(" ")}  \n`;
const text = (...cycles: number[]) => cycles.flatMap((n, u) => Array.from({ length: n }, (_, c) => line(u + 1, c + 1))).join("");
const write = (name: string, content: string | Uint8Array) => writeFile(join(folder, name), content);
async function writeAll() {
  await write("train_FD003.txt", text(3, 2));
  await write("test_FD003.txt.gz", gzipSync(text(1, 2, 1)));
  await write("RUL_FD003.txt", "7 \n112 \n0 \n");
}

describe("C-MAPSS loader", () => {
  it("reads plain and gzipped files into engines with named settings and sensors", async () => {
    await writeAll();
    const { train, test } = await loadCmapss(folder, "FD003", { cycleMs: 1000 });
    expect(train.map((e) => [e.machine, e.cycles, e.remainingCycles])).toEqual([
      ["FD003-train-001", 3, 0],
      ["FD003-train-002", 2, 0],
    ]);
    expect(test.map((e) => [e.unit, e.cycles, e.lastMs, e.remainingCycles])).toEqual([
      [1, 1, 1000, 7],
      [2, 2, 2000, 112],
      [3, 1, 1000, 0],
    ]);
    const last = [...train[1]!.rows].at(-1)!;
    expect(last).toMatchObject({ machine: "FD003-train-002", timeMs: 2000 });
    expect(last.values).toMatchObject({ setting1: 0.5, setting2: 0.25, setting3: 100, s1: 202.01, s21: 202.21 });
    expect(Object.keys(last.values)).toHaveLength(24);
  });

  it("replays all engines cycle by cycle until each has ended", async () => {
    await writeAll();
    const { train } = await loadCmapss(folder, "FD003", { cycleMs: 1000 });
    expect([...replayCmapss(train)].map((row) => `${row.machine.at(-1)}@${row.timeMs}`)).toEqual([
      "1@1000",
      "2@1000",
      "1@2000",
      "2@2000",
      "1@3000",
    ]);
  });

  it.each(["train_FD003.txt", "test_FD003.txt.gz", "RUL_FD003.txt"])("names %s when it is missing", async (name) => {
    await writeAll();
    await rm(join(folder, name));
    await expect(loadCmapss(folder, "FD003")).rejects.toMatchObject({
      code: "FILE_MISSING",
      message: expect.stringContaining(join(folder, name.replace(".gz", ""))),
    });
  });

  it.each([
    ["a line cut short", "train_FD003.txt", text(3, 2).slice(0, -30), 5],
    ["text among the numbers", "train_FD003.txt", text(2).replace("0.25", "abc"), 1],
    ["a cycle that is missing", "train_FD003.txt", line(1, 1) + line(1, 3), 2],
    ["an engine that is missing", "train_FD003.txt", line(1, 1) + line(3, 1), 2],
    ["no line at all", "train_FD003.txt", "", 1],
    ["an endless line", "train_FD003.txt", text(1) + "1 ".repeat(9000), 2],
    ["bytes that are not gzip", "test_FD003.txt.gz", text(2), 1],
    ["a gzip stream cut short", "test_FD003.txt.gz", gzipSync(text(1, 2, 1)).subarray(0, -20), undefined],
    ["too few remaining lives", "RUL_FD003.txt", "7\n112\n", 3],
    ["too many remaining lives", "RUL_FD003.txt", "7\n112\n0\n1\n", 4],
    ["a negative remaining life", "RUL_FD003.txt", "7\n-1\n0\n", 2],
  ])("names file and line for %s", async (_, name, content, at) => {
    await writeAll();
    await write(name, content);
    await expect(loadCmapss(folder, "FD003")).rejects.toMatchObject({
      code: "FILE_DAMAGED",
      message: expect.stringContaining(join(folder, name)),
      facts: { file: join(folder, name), line: at ?? expect.any(Number) },
    });
  });
});

const data = join(process.env.SMILE_DATA ?? resolve(import.meta.dirname, "../../../shared/data"), "cmapss");
const missing = !existsSync(join(data, "train_FD001.txt.gz"));
it.skipIf(missing)(`reads NASA's FD001 as published${missing ? ` (SKIPPED: no data in ${data}; set SMILE_DATA)` : ""}`, async () => {
  const { train, test } = await loadCmapss(data, "FD001");
  const rows = (engines: typeof train) => engines.reduce((sum, e) => sum + e.cycles, 0);
  expect([train.length, rows(train), test.length, rows(test)]).toEqual([100, 20_631, 100, 13_096]);
  expect(test.filter((e) => e.remainingCycles <= 30)).toHaveLength(25);
  expect([...train[0]!.rows][0]!.values).toMatchObject({ s2: 641.82, s21: 23.419 });
});
