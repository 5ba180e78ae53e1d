import { resourceUsage } from "node:process";
import type { Plan } from "@smile/he/planner";
import type { AlertEvent } from "@smile/plant-console/store";
import type { Journal } from "./journal.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Scenario } from "./scenario.ts";

/** The last line of `smile demo --json`. */
export type Report = {
  /** Windows that gateways made durable, and risks that the plant stored. */
  readonly windows: number;
  readonly risks: number;
  /** Windows without a risk, risks stored twice, and risks that are not the integer head on the window's own features. */
  readonly lost: number;
  readonly duplicated: number;
  readonly mismatches: number;
  readonly alerts: number;
  readonly failures: number;
  readonly failuresDetected: number;
  readonly falseAlarms: number;
  /** From the start of the process to the first stored risk, training included. */
  readonly firstRiskMs: number;
  /** From a window's close at the gateway to its stored risk. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Envelope bytes of frames per window, and of score envelopes per score. */
  readonly bytesUpPerWindow: number;
  readonly bytesDownPerScore: number;
  /** Largest resident set of this process, which holds every service. */
  readonly peakRssMb: number;
  /** Ciphertexts that gateways sent, and that were scored after merging. */
  readonly frames: number;
  readonly batches: number;
  /** Share of a frame's lanes that held a window. */
  readonly lanesFilled: number;
  readonly trainingSeconds: number;
  readonly streamingSeconds: number;
  readonly windowsPerSecond: number;
} & Readonly<Record<string, number>>;

export function reportOf(run: {
  scenario: Scenario;
  pipeline: Pipeline;
  journal: Journal;
  alerts: readonly AlertEvent[];
  plan: Plan;
  trainedMs: number;
  streamedMs: number;
}): Report {
  const { scenario, pipeline, journal, alerts, plan, trainedMs, streamedMs } = run;
  const { p50Ms, p99Ms } = pipeline.console.latency();
  const sum = (count: (counters: (typeof pipeline.agents)[number]["agent"]["counters"]) => number) =>
    pipeline.agents.reduce((total, { agent }) => total + count(agent.counters), 0);
  const frames = sum(({ published }) => published);
  const report: Report = {
    windows: journal.windows,
    risks: journal.risks.length,
    lost: journal.outstanding,
    duplicated: journal.duplicated,
    mismatches: journal.mismatches,
    alerts: alerts.filter(({ kind }) => kind === "raised").length,
    ...scenario.judgeAlerts(alerts),
    firstRiskMs: Math.round(journal.firstRiskMs ?? Number.NaN),
    p50Ms,
    p99Ms,
    bytesUpPerWindow: round(sum(({ publishedBytes }) => publishedBytes) / sum(({ framedWindows }) => framedWindows), 1),
    bytesDownPerScore: round(pipeline.models.counters.bytes / journal.windows, 1),
    peakRssMb: round(resourceUsage().maxRSS / 1024, 1),
    frames,
    batches: pipeline.models.counters.batches,
    lanesFilled: round(journal.windows / (frames * plan.lanes), 3),
    trainingSeconds: round(trainedMs / 1000, 2),
    streamingSeconds: round(streamedMs / 1000, 2),
    windowsPerSecond: Math.round(journal.windows / (streamedMs / 1000)),
  };
  const more = Object.entries(scenario.evaluate(journal.risks)).map(([name, value]) => [name, round(value, 4)]);
  return { ...report, ...Object.fromEntries(more) };
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
