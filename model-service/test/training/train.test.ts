import { WindowStream } from "@smile/features/window-stream";
import { describe, expect, it } from "vitest";
import { type CvTrial, chooseSetting } from "../../src/training/choose-setting.ts";
import { encodeWindows } from "../../src/training/examples.ts";
import { logistic } from "../../src/training/logistic.ts";
import { rocAuc } from "../../src/training/metrics.ts";
import { foldOfWindows, prepareTraining } from "../../src/training/prepare-training.ts";
import { integerScores, quantiseHead } from "../../src/training/quantise-head.ts";
import { trainFailureRisk } from "../../src/training/train-failure-risk.ts";
import { lifeLift, trainRemainingLife } from "../../src/training/train-remaining-life.ts";

const noise = (i: number) => Math.sin(i * 12.9898) * Math.cos(i * 4.1414);
/** Machines that wear for 60 to 100 rows: heat rises towards the end, hum is noise, and they work at two speeds. */
const runs = Array.from({ length: 24 }, (_, m) => {
  const life = 60 + ((m * 17) % 41);
  const rows = Array.from({ length: life }, (_, t) => {
    const speed = (t + m) % 3 === 0 ? 2 : 1;
    const wear = Math.exp((t - life) / 20);
    const seed = 1000 * m + t;
    return {
      machine: `m${m}`,
      timeMs: (t + 1) * 1000,
      values: { speed, heat: 50 * speed + 8 * wear + noise(seed), hum: noise(seed + 0.5) },
    };
  });
  return { machine: `m${m}`, rows, failureMs: life * 1000 };
});
const common = { name: "wear", runs, sensors: ["heat", "hum"], settings: ["speed"] };
const window = { lengthMs: 1000, hopMs: 1000, latenessMs: 0 };

describe("training", () => {
  it("learns from exactly the integers that the edge sends", () => {
    const { windows, featureSet } = prepareTraining({ ...common, window, lift: lifeLift });
    const spec = featureSet({ seed: 1, width: 10, bandwidth: 0.4 });
    const { features, count, steps, clipped } = encodeWindows(windows, spec);
    const stream = new WindowStream(spec);
    // The edge emits a few windows more: those before the baseline is complete.
    const sent = runs.flatMap((run) => run.rows.flatMap((row) => stream.push(row)).filter((w) => w.endMs >= 20_000));
    expect(count).toBe(sent.length);
    expect(sent.flatMap((w) => [...w.features])).toEqual([...features]);
    expect(sent.reduce((sum, w) => sum + w.clipped, 0)).toBe(clipped);
    expect(steps).toHaveLength(features.length / count);
  });

  it("keeps every run on one side of each split", () => {
    const fold = foldOfWindows({ run: Int32Array.of(0, 0, 1, 2, 2, 3) }, 4, 3);
    expect([...fold]).toEqual([0, 0, 1, 2, 2, 0]);
    expect(() => foldOfWindows({ run: Int32Array.of(0) }, 1, 2)).toThrowError(expect.objectContaining({ code: "TRAINING_IMPOSSIBLE" }));
  });

  it("prefers the larger penalty among settings that the runs cannot tell apart", () => {
    const entry = (penalty: number, loss: number, ...perRun: number[]): CvTrial => ({
      bandwidth: 0.4,
      seed: 1,
      penalty,
      loss,
      perRun: Float64Array.from(perRun),
    });
    const [best, near, worse] = [entry(1, 2, 1, 2, 3), entry(10, 2.1, 2, 1, 3.5), entry(100, 4, 3, 4, 5)];
    expect(chooseSetting([best, near, worse])).toBe(near);
    expect(chooseSetting([worse])).toBe(worse);
  });

  it("predicts remaining life, reports progress and repeats itself", async () => {
    const told: number[] = [];
    const options = { ...common, unitMs: 1000, cap: 50, fourierWidth: 20, bandwidths: [0.3, 0.5], seeds: [1, 2], folds: 4 };
    const trained = await trainRemainingLife({ ...options, onProgress: (_, fraction) => told.push(fraction) });
    expect(trained.featureSet.regimes?.centroids).toEqual([[1], [2]]);
    expect(trained.chosen.loss).toBeLessThan(8); // guessing the mean gives 17
    expect(trained.cv).toHaveLength(3 * 5);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    expect([told[0], told.at(-1)]).toEqual([0, 1]);
    expect(await trainRemainingLife(options)).toEqual(trained);
  });

  it("refuses runs without a failure for remaining life, naming the machine", async () => {
    const censored = [...runs, { ...runs[0]!, machine: "still-running", failureMs: null }];
    await expect(trainRemainingLife({ ...common, runs: censored, unitMs: 1000 })).rejects.toMatchObject({
      code: "TRAINING_IMPOSSIBLE",
      facts: { machine: "still-running" },
    });
  });

  it("learns the chance of failure within a horizon, from machines that failed and machines that did not", async () => {
    const fresh = runs.slice(0, 8).map((run, m) => ({
      machine: `fresh${m}`,
      rows: run.rows.slice(0, 40).map((r) => ({ ...r, machine: `fresh${m}` })),
      failureMs: null,
    }));
    const lift = { kind: "statistics", statistics: ["mean", "last", "slope", "deviation"], minimumRows: 5 } as const;
    const trained = await trainFailureRisk({
      ...common,
      runs: [...runs, ...fresh],
      window: { lengthMs: 10_000, hopMs: 1000, latenessMs: 0 },
      lift,
      horizonMs: 15_000,
    });
    const head = quantiseHead(trained.head, trained.steps, { bits: 8, weightBits: 11 });
    const stream = new WindowStream(trained.featureSet);
    const scored = runs.flatMap((run) =>
      run.rows
        .flatMap((row) => stream.push(row))
        .map((w) => ({
          score: integerScores(head, w.features)[0]! * head.scale,
          fails: run.failureMs - w.endMs <= 15_000,
        })),
    );
    const fails = scored.map((s) => s.fails);
    expect(
      rocAuc(
        scored.map((s) => s.score),
        fails,
      ),
    ).toBeGreaterThan(0.97);
    const expected = scored.reduce((sum, s) => sum + logistic(s.score), 0);
    const happened = fails.filter(Boolean).length;
    expect(Math.abs(expected / happened - 1)).toBeLessThan(0.15); // chances, not just ranks
    // 40 rows: the last 15 windows of a record that just ends cannot be labelled.
    expect(trained.windows).toBe(scored.length + 8 * (36 - 15));
  });

  it("refuses to learn from one outcome only", async () => {
    const lift = { kind: "statistics", statistics: ["mean"], minimumRows: 1 } as const;
    await expect(trainFailureRisk({ ...common, window, lift, horizonMs: 1e9 })).rejects.toMatchObject({ code: "TRAINING_IMPOSSIBLE" });
  });
});
