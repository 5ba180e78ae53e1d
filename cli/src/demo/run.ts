import { setTimeout as delay } from "node:timers/promises";
import type { KeyMode } from "@smile/he/params";
import type { ModelPrivacy, Plan } from "@smile/he/planner";
import { deploy, withPrecision } from "@smile/model-service/deploy";
import type { OnProgress } from "@smile/model-service/training/training-run";
import type { AlertEvent } from "@smile/plant-console/store";
import type { Logger } from "@smile/runtime/logging";
import { type BothViews, bothViews } from "./both-views.ts";
import { Journal } from "./journal.ts";
import { type Pipeline, startPipeline } from "./pipeline.ts";
import { type Report, reportOf } from "./report.ts";
import type { Scenario } from "./scenario.ts";

export type RunOptions = {
  readonly scenario: Scenario;
  readonly plant: string;
  readonly keyMode: KeyMode;
  readonly modelPrivacy: ModelPrivacy;
  /** Frames merged into one ciphertext at most, in public mode. */
  readonly maxMerges: number;
  /** Of risks, in the scenario's unit; 0, the default, for exact scores. */
  readonly precision?: number;
  readonly folder: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
};

/** What a run looks like from outside while it goes on. */
export type RunListener = {
  readonly onTraining?: OnProgress;
  readonly onStart?: (running: Running) => void;
  readonly onAlert?: (event: AlertEvent) => void;
  readonly onViews?: (views: BothViews) => void;
  /** Everything is stored; the services still run. */
  readonly onEnd?: () => void;
};

export type Running = {
  readonly pipeline: Pipeline;
  readonly journal: Journal;
  readonly plan: Plan;
  readonly startedMs: number;
  steps(): number;
};

/** Windows that may be under way before the next step is streamed. */
const OUTSTANDING_WINDOWS = 512;
/** After the last row, no news from the pipeline for this long means that what is missing is lost. */
const QUIET_MS = 15_000;

/**
 * Trains, deploys, starts every service and streams the scenario through them, until the last window's risk is stored.
 * @throws {PipelineError} whatever training, planning or a service failed with; the signal's reason when it is aborted
 */
export async function run(options: RunOptions, listener: RunListener = {}): Promise<Report> {
  const { scenario, signal, maxMerges, keyMode, modelPrivacy, precision = 0 } = options;
  const trainingMs = performance.now();
  const trained = await scenario.train((text, fraction) => {
    signal.throwIfAborted();
    listener.onTraining?.(text, fraction);
  });
  const trainedMs = performance.now() - trainingMs;
  const candidate = withPrecision(trained.candidate, precision);
  const deployed = deploy({ featureSet: trained.featureSet, candidates: [candidate], keyMode, maxMerges, modelPrivacy });
  const journal = new Journal(candidate.head, deployed.deployment.replies?.step ?? 1);
  const alerts: AlertEvent[] = [];
  await using pipeline = await startPipeline({
    plant: options.plant,
    deployed,
    gateways: scenario.gateways,
    folder: options.folder,
    logger: options.logger,
    onWindow: (known) => journal.window(known),
    onRisk: (risk) => {
      const first = journal.example === undefined;
      journal.risk(risk);
      if (first && journal.example !== undefined) void showViews();
    },
    onAlert: (event) => {
      alerts.push(event);
      listener.onAlert?.(event);
    },
  });
  const startedMs = performance.now();
  let steps = 0;
  listener.onStart?.({ pipeline, journal, plan: deployed.plan, startedMs, steps: () => steps });
  await Promise.race([stream(), pipeline.failed]);
  await quiescence(pipeline, journal, signal);
  const streamedMs = performance.now() - startedMs;
  listener.onEnd?.();
  return reportOf({ scenario, pipeline, journal, alerts, plan: deployed.plan, trainedMs, streamedMs });

  async function stream(): Promise<void> {
    const queues = new Map(pipeline.agents.flatMap(({ queue, machines }) => [...machines].map((machine) => [machine, queue] as const)));
    for (const rows of scenario.steps()) {
      const nextMs = performance.now() + scenario.paceMs;
      for (const row of rows) {
        const queue = queues.get(row.machine);
        // Without a turn of the event loop where there is room, so that an agent finds the rows of one moment together.
        if (queue?.offer(row) === false) await queue.push(row);
      }
      steps += 1;
      // A replay is as fast as the whole way, not as the gateways' spools: so latencies mean something.
      await Promise.race([journal.atMost(OUTSTANDING_WINDOWS), pipeline.failed]);
      if (scenario.paceMs > 0) await delay(Math.max(0, nextMs - performance.now()), undefined, { signal });
      signal.throwIfAborted();
    }
    for (const { queue } of pipeline.agents) queue.end();
    await Promise.all(pipeline.agents.map(({ agent }) => agent.done));
  }

  async function showViews(): Promise<void> {
    if (listener.onViews === undefined || journal.example === undefined) return;
    listener.onViews(await bothViews(pipeline.log, journal.example, candidate.card));
  }
}

/** Waits until every window has its risk, or nothing more comes. */
async function quiescence(pipeline: Pipeline, journal: Journal, signal: AbortSignal): Promise<void> {
  let newsMs = performance.now();
  let outstanding = journal.outstanding;
  while (journal.outstanding > 0 && performance.now() - newsMs < QUIET_MS) {
    await Promise.race([delay(20, undefined, { signal }), pipeline.failed]);
    if (journal.outstanding === outstanding) continue;
    outstanding = journal.outstanding;
    newsMs = performance.now();
  }
}
