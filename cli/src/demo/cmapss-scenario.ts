import type { FeatureSet } from "@smile/features/spec";
import { WindowStream } from "@smile/features/window-stream";
import { remainingLifeMetrics, rmse } from "@smile/model-service/training/metrics";
import { quantiseHead } from "@smile/model-service/training/quantise-head";
import { trainRemainingLife } from "@smile/model-service/training/train-remaining-life";
import type { TrainedHead } from "@smile/model-service/training/trained-head";
import type { StoredRisk } from "@smile/plant-console/store";
import { type CmapssRow, type CmapssSet, cmapssSensors, cmapssSettings, loadCmapss } from "@smile/simulators/cmapss";
import { codeVersion } from "../code-version.ts";
import { type Scenario, spread } from "./scenario.ts";

/** Remaining life is learned and shown up to here, in cycles; the usual choice for these data. */
const CAP = 125;
/** "Fails within 30 cycles." */
const HORIZON = 30;

/**
 * NASA's turbofan engines: trains on the engines that ran to failure, then streams the test engines, which stop before it.
 * @param folder with train_, test_ and RUL_ files of the set
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED naming the file
 */
export async function cmapssScenario(folder: string, set: CmapssSet, gateways: number): Promise<Scenario> {
  const data = await loadCmapss(folder, set);
  const engines = new Map(data.test.map((engine) => [engine.machine, engine]));
  let trained: TrainedHead | undefined;
  /** Cycles that an engine of the test set has left at a time. */
  const remainingAt = (machine: string, timeMs: number) => {
    const engine = engines.get(machine)!;
    return engine.remainingCycles + (engine.lastMs - timeMs) / data.cycleMs;
  };

  return {
    title: `${data.test.length} turbofan engines of NASA's ${set} behind ${gateways} gateways`,
    gateways: spread([...engines.keys()], gateways),
    paceMs: 0,
    stepCount: Math.max(...data.test.map(({ cycles }) => cycles)),
    async train(onProgress) {
      trained = await trainRemainingLife({
        name: `turbofan ${set}`,
        runs: data.train.map(({ machine, rows, lastMs }) => ({ machine, rows, failureMs: lastMs })),
        sensors: cmapssSensors,
        settings: cmapssSettings,
        unitMs: data.cycleMs,
        cap: CAP,
        onProgress,
      });
      const { featureSet, head, steps, chosen } = trained;
      return {
        featureSet,
        candidate: {
          head: quantiseHead(head, steps, { bits: featureSet.quantise.bits, weightBits: 11 }),
          card: {
            name: `remaining life, ${set}`,
            outputs: ["remaining life"],
            calibration: null,
            link: "identity",
            range: [0, CAP],
            unit: "cycles",
            alert: { direction: "below", raise: HORIZON, clear: 1.5 * HORIZON },
            training: {
              data: `C-MAPSS train_${set}`,
              machines: trained.machines,
              windows: trained.windows,
              metrics: { crossValidatedRmse: chosen.loss },
            },
            codeVersion,
          },
        },
      };
    },
    *steps() {
      const running = data.test.map((engine) => engine.rows[Symbol.iterator]());
      while (true) {
        const rows = running.map((engine) => engine.next()).flatMap((next): CmapssRow[] => (next.done ? [] : [next.value]));
        if (rows.length === 0) return;
        yield rows;
      }
    },
    judgeAlerts(events) {
      const open = new Map<string, boolean>();
      for (const { kind, alert } of events) open.set(alert.machine, kind === "raised");
      const failing = data.test.filter(({ remainingCycles }) => remainingCycles <= HORIZON);
      return {
        failures: failing.length,
        failuresDetected: failing.filter(({ machine }) => open.get(machine)).length,
        falseAlarms: events.filter(({ kind, alert }) => kind === "raised" && remainingAt(alert.machine, alert.raisedAtMs) > 2 * HORIZON)
          .length,
      };
    },
    evaluate(risks) {
      const last = new Map<string, StoredRisk>();
      for (const risk of risks) if (risk.frameTimeMs >= (last.get(risk.machine)?.frameTimeMs ?? 0)) last.set(risk.machine, risk);
      const judged = data.test.filter(({ machine }) => last.has(machine));
      const predicted = judged.map(({ machine }) => last.get(machine)!.risk);
      const truth = judged.map(({ remainingCycles }) => remainingCycles);
      const metrics = remainingLifeMetrics(predicted, truth, { cap: CAP, horizon: HORIZON });
      const plaintext = trained === undefined ? [] : judged.map(({ rows }) => plaintextLife(trained!, rows));
      return {
        engines: judged.length,
        rmse: metrics.rmse,
        rmseCapped: metrics.rmseCapped,
        nasaScore: metrics.nasaScore,
        auc30: metrics.auc,
        precision30: metrics.precision,
        recall30: metrics.recall,
        plaintextRmse: rmse(plaintext, truth),
      };
    },
  };
}

/** What the trained head in floating point says of an engine's last window, without quantised weights and without encryption. */
function plaintextLife({ featureSet, head, steps }: TrainedHead, rows: Iterable<CmapssRow>): number {
  const features = lastWindow(featureSet, rows);
  const score = features.reduce((sum, x, f) => sum + x * steps[f]! * head.weights[0]![f]!, head.bias[0]!);
  return Math.min(Math.max(score, 0), CAP);
}

function lastWindow(featureSet: FeatureSet, rows: Iterable<CmapssRow>): Int32Array {
  const stream = new WindowStream(featureSet);
  const windows = [];
  for (const row of rows) windows.push(...stream.push(row));
  windows.push(...stream.flush());
  return windows.at(-1)!.features;
}
