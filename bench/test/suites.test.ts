import { join } from "node:path";
import { switchedReplyLength } from "@smile/he/switched-reply";
import { frameLength } from "@smile/he/wire";
import { expect, it } from "vitest";
import { chartSvg, resultPage } from "../harness/page.ts";
import { changeTable, resultTable } from "../harness/print.ts";
import { parseResult, readResult } from "../harness/result.ts";
import { runSuite } from "../harness/run-suite.ts";
import { sampleTogether } from "../harness/sampling.ts";
import { bytes } from "../suites/bytes.ts";
import { EDGE_FEATURE_SETS } from "../suites/edge-features.ts";
import { EDGE_STEPS, openEdgeSteps } from "../suites/edge-steps.ts";
import { encryptedWindows } from "../suites/encrypted-windows.ts";
import { openScoringSteps, SCORING_STEPS } from "../suites/scoring-steps.ts";
import { CHECKED, SUITES } from "../suites.ts";

const quick = { samples: 1, sampleMs: 0.1, warmUpMs: 0.1 };
const silent = () => {};

it("counts whole envelopes: a ciphertext or reply, and at most 1 KB around it", async () => {
  const { result, charts } = await runSuite(bytes, quick, import.meta.dirname, silent);
  using windows = await encryptedWindows({ featureCount: 64, keyMode: "symmetric" }, 1);
  const { params, lanes, replies } = windows.plan;
  const { upPerWindow, downPerScore, downPerScoreExact } = result.headline;
  expect(lanes).toBe(32);
  const around = {
    up: upPerWindow! * lanes - frameLength(params, "symmetric"),
    down: downPerScoreExact! * lanes - switchedReplyLength(params, replies!.bits, lanes),
  };
  for (const extra of Object.values(around)) {
    expect(extra).toBeGreaterThan(64); // a signature at the least
    expect(extra).toBeLessThan(1024);
  }
  expect(downPerScore!).toBeLessThan(downPerScoreExact!);
  // What is stored reads back as what it was, and both can be shown.
  expect(parseResult(JSON.stringify(result), "itself")).toEqual(result);
  expect(resultTable(result)).toContain("symmetric/F=64/up");
  expect(changeTable([{ name: "a", unit: "B", base: 1, head: Number.NaN, factor: null, verdict: "missing" }], "x", "y")).toContain(
    "missing",
  );
  const page = resultPage(bytes.title, result, charts);
  expect(page).toContain("<svg");
  expect(page).not.toMatch(/<script|(?:src|href)="http/);
});

it("names every step of scoring that it draws, in both key modes", async () => {
  for (const keyMode of ["symmetric", "public"] as const) {
    using steps = await openScoringSteps({ featureCount: 64, keyMode });
    const derived = steps.derive(await sampleTogether(steps.cases, quick));
    expect([...derived.keys()]).toEqual(expect.arrayContaining([...SCORING_STEPS, "frame", "each further output", "make sanitiser"]));
  }
});

it("names every step of the edge that it draws, for both feature sets", async () => {
  for (const features of EDGE_FEATURE_SETS) {
    using steps = await openEdgeSteps(features, "symmetric");
    const derived = steps.derive(await sampleTogether(steps.cases, quick));
    expect([...derived.keys()]).toEqual(expect.arrayContaining([...EDGE_STEPS, "whole window"]));
  }
});

it("draws what is below zero as nothing, and escapes what it is told", () => {
  const chart = { title: "<b>", unit: "us", categories: ["a"], series: [{ name: "s", values: [-1] }], stacked: true };
  expect(chartSvg(chart)).toContain("&lt;b&gt;");
  expect(() => parseResult('{"kind":"other"}', "x.json")).toThrow(/x\.json holds no result/);
});

it("finds every bench under its own name, those that are checked with a baseline among them", () => {
  for (const [name, suite] of SUITES) expect(suite.name).toBe(name);
  for (const name of CHECKED) expect(readResult(join(import.meta.dirname, "../baselines", `${name}.json`)).bench).toBe(name);
});
