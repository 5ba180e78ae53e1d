import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { largestStep } from "@smile/schemas/score-precision";
import { cmapssSensors, cmapssSettings, loadCmapss } from "@smile/simulators/cmapss";
import { expect, it } from "vitest";
import { evaluateRemainingLife } from "../../src/training/evaluate-remaining-life.ts";
import { quantiseHead } from "../../src/training/quantise-head.ts";
import { trainRemainingLife } from "../../src/training/train-remaining-life.ts";

const folder = join(process.env.SMILE_DATA ?? resolve(import.meta.dirname, "../../../../shared/data"), "cmapss");
const missing = !existsSync(join(folder, "train_FD001.txt.gz"));
const why = missing ? ` (SKIPPED: no data in ${folder}; set SMILE_DATA)` : "";

it.skipIf(missing)(
  `predicts NASA's FD001 engines as well as promised, chosen on training engines only${why}`,
  { timeout: 60_000 },
  async () => {
    const { train, test, cycleMs } = await loadCmapss(folder, "FD001");
    const trained = await trainRemainingLife({
      name: "turbofan FD001",
      runs: train.map(({ machine, rows, lastMs }) => ({ machine, rows, failureMs: lastMs })),
      sensors: cmapssSensors,
      settings: cmapssSettings,
      unitMs: cycleMs,
    });
    expect(trained.featureSet.regimes?.centroids).toHaveLength(1);
    expect(trained.steps.length).toBeLessThanOrEqual(409); // at least five lanes in 2048 slots
    const head = quantiseHead(trained.head, trained.steps, { bits: 8, weightBits: 11 });
    expect(head.worstCase).toBeLessThan(2 ** 23.5);
    const machines = test.map(({ machine, rows, remainingCycles }) => ({ machine, rows, remaining: remainingCycles }));
    const found = evaluateRemainingLife(trained.featureSet, head, machines, { cap: 125, horizon: 30 });
    expect(found).toMatchObject({ machines: 100, withoutWindow: 0 });
    expect(found.rmse).toBeLessThanOrEqual(14.2);
    expect(found.rmseCapped).toBeLessThanOrEqual(12.9);
    expect(found.auc).toBeGreaterThanOrEqual(0.99);

    // What rounded replies do to it: scores to a multiple of 256, right or left of the exact one, 0.15 cycles.
    const step = largestStep({ scale: head.scale, calibration: null, link: "identity", precision: 0.2 }, head.worstCase / 256);
    expect(step).toBe(256);
    for (const toMultiple of [Math.floor, Math.ceil]) {
      const rounded = evaluateRemainingLife(
        trained.featureSet,
        head,
        machines,
        { cap: 125, horizon: 30 },
        (score) => step * toMultiple(score / step),
      );
      expect(Math.abs(rounded.rmse - found.rmse)).toBeLessThan(0.05);
      expect(Math.abs(rounded.auc - found.auc)).toBeLessThan(0.001);
    }
  },
);
