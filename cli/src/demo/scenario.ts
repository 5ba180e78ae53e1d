import type { FeatureSet, Row } from "@smile/features/spec";
import type { Candidate } from "@smile/model-service/deploy";
import type { OnProgress } from "@smile/model-service/training/training-run";
import type { AlertEvent, StoredRisk } from "@smile/plant-console/store";

/** A trained model: the public feature set, and the head with its card. */
export type TrainedModel = { readonly featureSet: FeatureSet; readonly candidate: Candidate };

/** What the alerts were worth, by a truth that only the demo knows. */
export type AlertTruth = {
  /** Failures that could be foreseen: at least one window was scored before them. */
  readonly failures: number;
  /** Of those, how many had an open alert when they came. */
  readonly failuresDetected: number;
  /** Alerts that no failure followed within twice the horizon. */
  readonly falseAlarms: number;
};

/** A stream of telemetry with a known truth: what `smile demo` runs through the pipeline. */
export interface Scenario {
  readonly title: string;
  /** Machines behind each gateway; each name once. */
  readonly gateways: readonly { readonly gateway: string; readonly machines: readonly string[] }[];
  /** Waits between two steps, in milliseconds; 0 streams as fast as the pipeline takes it. */
  readonly paceMs: number;
  /** How many steps `steps()` yields. */
  readonly stepCount: number;
  train(onProgress: OnProgress): Promise<TrainedModel>;
  /** Rows of all machines, one moment of event time after the other. */
  steps(): Iterable<readonly Row[]>;
  judgeAlerts(alerts: readonly AlertEvent[]): AlertTruth;
  /** Further fields of the report. @param risks every risk that the plant stored */
  evaluate(risks: readonly StoredRisk[]): Record<string, number>;
}

/** Splits machines over gateways, as evenly as it goes, in order. */
export function spread(machines: readonly string[], gateways: number): { gateway: string; machines: readonly string[] }[] {
  return Array.from({ length: gateways }, (_, g) => ({
    gateway: `gateway-${g + 1}`,
    machines: machines.slice(Math.floor((g * machines.length) / gateways), Math.floor(((g + 1) * machines.length) / gateways)),
  })).filter(({ machines: own }) => own.length > 0);
}
