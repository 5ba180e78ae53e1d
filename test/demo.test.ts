import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "./support/small-deployment.ts";
import { ROOT, smile, startSmile } from "./support/smile-process.ts";

const CMAPSS = join(process.env.SMILE_DATA ?? join(ROOT, "../shared/data"), "cmapss");
const haveData = existsSync(join(CMAPSS, "train_FD001.txt")) || existsSync(join(CMAPSS, "train_FD001.txt.gz"));

/** What the last line always has. */
const FIELDS = [
  "windows",
  "risks",
  "lost",
  "duplicated",
  "mismatches",
  "alerts",
  "failures",
  "failuresDetected",
  "falseAlarms",
  "firstRiskMs",
  "p50Ms",
  "p99Ms",
  "bytesUpPerWindow",
  "bytesDownPerScore",
  "peakRssMb",
] as const;
const REPLAY_FIELDS = ["rmse", "rmseCapped", "nasaScore", "auc30", "precision30", "recall30", "plaintextRmse"] as const;

/** Runs the demo to a good end: nothing lost, twice or wrong, every field a number, nothing left behind in the temporary folder. */
async function demo<F extends string>(args: readonly string[], more: readonly F[] = []): Promise<Record<string, number>> {
  using folder = temporaryFolder();
  const { code, stdout, stderr } = await smile(["demo", "--json", ...args], { env: { TMPDIR: folder.path } });
  expect(code, stderr).toBe(0);
  const report = JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as Record<string, number>;
  for (const field of [...FIELDS, ...more]) expect(report[field], field).toSatisfy(Number.isFinite);
  expect(report).toMatchObject({ lost: 0, duplicated: 0, mismatches: 0, risks: report.windows });
  expect(report.windows).toBeGreaterThan(0);
  expect(readdirSync(folder.path)).toEqual([]);
  return report;
}

describe("smile demo", () => {
  it("merges frames of 6 gateways, and finds failures before they come", async () => {
    const report = await demo(["--steps", "160", "--pace", "5"]);
    // 16 machines behind each gateway fill half of the 32 lanes: two frames make a batch, unless one comes too late.
    expect(report.batches).toBeLessThan(0.9 * report.frames!);
    expect(report.windows).toBeGreaterThan(96 * 50);
    expect(report.failures).toBeGreaterThan(0);
    expect(report.failuresDetected).toBeGreaterThan(0);
    expect(report.peakRssMb).toBeLessThanOrEqual(600);
  });

  it.each([
    { mode: "public", precision: "0", up: 870, down: 290 },
    { mode: "symmetric", precision: "0", up: 440, down: 290 },
    { mode: "symmetric", precision: "0.002", up: 440, down: 220 },
  ])(
    "with full lanes in $mode mode and precision $precision sends at most $up bytes per window, and gets at most $down per score",
    async ({ mode, precision, up, down }) => {
      const report = await demo(["--machines", "192", "--steps", "48", "--pace", "0", "--key-mode", mode, "--precision", precision]);
      expect(report.lanesFilled).toBeGreaterThan(0.9); // on a busy machine, a row that comes too late leaves a lane empty
      expect(report.bytesUpPerWindow).toBeLessThanOrEqual(up);
      expect(report.bytesDownPerScore).toBeLessThanOrEqual(down);
      if (mode === "symmetric") expect(report.batches).toBe(report.frames);
    },
  );

  it("runs with a sanitised model as well", async () => {
    await demo(["--machines", "24", "--gateways", "2", "--steps", "36", "--pace", "0", "--privacy", "sanitised"]);
  });

  it("keeps the log, the spools and the console's store where it is told to, and refuses a folder that holds an earlier run", async () => {
    using folder = temporaryFolder();
    const keep = join(folder.path, "run");
    const args = ["--machines", "4", "--gateways", "2", "--steps", "26", "--pace", "0", "--keep", keep];
    await demo(args);
    expect(readdirSync(keep)).toEqual(expect.arrayContaining(["log.db", "console.db", "gateway-1.db", "gateway-2.db"]));
    const again = await smile(["demo", "--json", ...args]);
    expect(again).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(keep) });
  });

  it("refuses a value out of its range and says of which option", async () => {
    const wrong = [
      ["--machines", "0"],
      ["--steps", "1.5"],
      ["--pace", "-1"],
      ["--key-mode", "none"],
      ["--set", "FD005"],
    ];
    await Promise.all(
      wrong.map(async ([option, value]) => {
        const { code, stdout, stderr } = await smile(["demo", "--json", option!, value!]);
        expect(code).toBeGreaterThan(0);
        expect(stdout).toBe("");
        expect(stderr).toContain(option);
      }),
    );
  });

  // While it trains, and while it streams.
  it.each([/training: /, /model service started/])("ends within seconds of SIGINT after %s and leaves nothing behind", async (moment) => {
    using folder = temporaryFolder();
    await using running = startSmile(["demo", "--json", "--verbose", "--steps", "100000"], { env: { TMPDIR: folder.path } });
    await running.line(moment);
    const interruptedMs = performance.now();
    const { code, signal, stdout, stderr } = await running.stop("SIGINT");
    expect(performance.now() - interruptedMs).toBeLessThan(10_000);
    expect({ code, signal, stdout }).toEqual({ code: 1, signal: null, stdout: "" });
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

describe("smile demo --replay", () => {
  it("names the file that is missing", async () => {
    using folder = temporaryFolder();
    const { code, stdout, stderr } = await smile(["demo", "--json", "--replay", folder.path, "--set", "FD003"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("train_FD003.txt");
    expect(stderr).toContain("FILE_MISSING");
  });

  it("names the file that is damaged, and where", async () => {
    using folder = temporaryFolder();
    const row = (engine: number, cycle: number) => `${engine} ${cycle} ${Array(24).fill("1.0").join(" ")}\n`;
    writeFileSync(join(folder.path, "train_FD001.txt"), row(1, 1) + row(1, 2) + row(1, 3));
    writeFileSync(join(folder.path, "test_FD001.txt"), `${row(1, 1)}1 2 not-a-number\n`);
    writeFileSync(join(folder.path, "RUL_FD001.txt"), "12\n");
    const { code, stdout, stderr } = await smile(["demo", "--json", "--replay", folder.path]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("test_FD001.txt");
    expect(stderr).toContain("FILE_DAMAGED");
    expect(stderr).not.toContain("not-a-number");
  });

  const title = "predicts the remaining life of NASA's FD001 engines under encryption as well as promised";
  it.skipIf(!haveData)(
    haveData ? title : `${title} (SKIPPED: no C-MAPSS data in ${CMAPSS}; set SMILE_DATA)`,
    async () => {
      const report = await demo(["--replay", CMAPSS, "--set", "FD001"], REPLAY_FIELDS);
      expect(report).toMatchObject({ engines: 100 });
      expect(report.rmse).toBeLessThanOrEqual(14.2);
      expect(report.rmseCapped).toBeLessThanOrEqual(12.9);
      expect(report.auc30).toBeGreaterThanOrEqual(0.99);
      // Rounding the weights is all that separates it from the head in floating point: encryption adds nothing.
      expect(Math.abs(report.rmse! - report.plaintextRmse!)).toBeLessThan(0.2);
    },
    240_000,
  );
});
