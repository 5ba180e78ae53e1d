import { rocAuc } from "@smile/model-service/training/metrics";
import { quantiseHead } from "@smile/model-service/training/quantise-head";
import { trainFailureRisk } from "@smile/model-service/training/train-failure-risk";
import type { AlertEvent, StoredRisk } from "@smile/plant-console/store";
import { fleet } from "@smile/simulators/fleet";
import { FLEET_SENSORS } from "@smile/simulators/sensors";
import { trainingHistories } from "@smile/simulators/training-histories";
import { codeVersion } from "../code-version.ts";
import { type Scenario, spread } from "./scenario.ts";

/** One row per machine and hour; a window of a day every two hours; alerts two days ahead. */
const STEP_MS = 3_600_000;
const WINDOW = { lengthMs: 24 * STEP_MS, hopMs: 2 * STEP_MS, latenessMs: 0 };
const HORIZON_MS = 48 * STEP_MS;

export type FleetScenarioOptions = {
  readonly seed: number;
  readonly machines: number;
  readonly gateways: number;
  readonly steps: number;
  readonly paceMs: number;
};

/**
 * A simulated fleet of rotating machines. The model is trained on other machines (another seed) that ran to failure; 32 window
 * statistics and 32 random Fourier features make F = 64.
 */
export function fleetScenario({ seed, machines, gateways, steps, paceMs }: FleetScenarioOptions): Scenario {
  const truth = fleet({ seed, machines, stepMs: STEP_MS });
  const source = fleet({ seed, machines, stepMs: STEP_MS });
  const startMs = source.nextMs;
  const endMs = startMs + steps * STEP_MS;
  /** From here on a machine's life has had a window. */
  const firstWindowMs = (machine: string, failureMs: number) => (truth.lifeStartMs(machine, failureMs - 1) ?? failureMs) + WINDOW.lengthMs;

  return {
    title: `${machines} simulated machines behind ${gateways} gateways`,
    gateways: spread(source.machines, gateways),
    paceMs,
    stepCount: steps,
    async train(onProgress) {
      const histories = trainingHistories({ seed: seed + 1, machines: 48, stepMs: STEP_MS });
      const trained = await trainFailureRisk({
        name: "rotating machines, one day",
        runs: histories.map(({ machine, life, rows, timeToFailureMs }) => ({
          machine: `${machine}/${life}`,
          rows: rows.map((row) => ({ ...row, machine: `${machine}/${life}` })),
          failureMs: rows[0]!.timeMs + timeToFailureMs[0]!,
        })),
        sensors: FLEET_SENSORS,
        window: WINDOW,
        lift: { kind: "statistics", statistics: ["mean", "last", "slope", "deviation"], minimumRows: 23 },
        fourierWidth: 32,
        bandwidths: [0.3],
        penalties: [3, 30],
        folds: 4,
        horizonMs: HORIZON_MS,
        onProgress,
      });
      const { featureSet, head, steps: featureSteps, chosen } = trained;
      return {
        featureSet,
        candidate: {
          head: quantiseHead(head, featureSteps, { bits: featureSet.quantise.bits, weightBits: 10 }),
          card: {
            name: "fails within 48 hours",
            outputs: ["failure"],
            calibration: null,
            link: "logistic",
            range: null,
            unit: "probability",
            alert: { direction: "above", raise: 0.5, clear: 0.15 },
            training: {
              data: `simulated fleet, seed ${seed + 1}, run to failure`,
              machines: trained.machines,
              windows: trained.windows,
              metrics: { crossValidatedLogLoss: chosen.loss },
            },
            codeVersion,
          },
        },
      };
    },
    *steps() {
      for (let step = 0; step < steps; step++) yield source.step();
    },
    judgeAlerts(events) {
      let failures = 0;
      let failuresDetected = 0;
      for (const machine of truth.machines) {
        for (const failureMs of truth.failuresUpTo(machine, endMs - 1)) {
          const lifeMs = truth.lifeStartMs(machine, failureMs - 1) ?? startMs;
          if (Math.max(firstWindowMs(machine, failureMs), startMs + WINDOW.lengthMs) >= failureMs) continue;
          failures += 1;
          if (isOpenAt(events, machine, lifeMs, failureMs)) failuresDetected += 1;
        }
      }
      const raised = events.filter(({ kind }) => kind === "raised");
      const falseAlarms = raised.filter(
        ({ alert }) => truth.nextFailureMs(alert.machine, alert.raisedAtMs) - alert.raisedAtMs > 2 * HORIZON_MS,
      );
      return { failures, failuresDetected, falseAlarms: falseAlarms.length };
    },
    evaluate(risks: readonly StoredRisk[]) {
      const fails = risks.map(({ machine, frameTimeMs }) => truth.nextFailureMs(machine, frameTimeMs) - frameTimeMs <= HORIZON_MS);
      const scores = risks.map(({ risk }) => risk);
      return fails.includes(true) && fails.includes(false) ? { auc: rocAuc(scores, fails) } : {};
    },
  };
}

/** Whether an alert of the machine, raised within this life, was open when it failed. */
function isOpenAt(events: readonly AlertEvent[], machine: string, lifeMs: number, failureMs: number): boolean {
  let open = false;
  for (const { kind, alert } of events) {
    if (alert.machine !== machine) continue;
    const atMs = kind === "raised" ? alert.raisedAtMs : alert.clearedAtMs!;
    if (atMs >= lifeMs && atMs <= failureMs) open = kind === "raised";
  }
  return open;
}
