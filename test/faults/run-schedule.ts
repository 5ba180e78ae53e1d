import type { LocalKafka } from "@smile/kafka-local/local-kafka";
import type { Log } from "@smile/runtime/log";
import { check, type Verdict } from "./checker.ts";
import { INJECTORS, type Restarted } from "./inject.ts";
import { type LogMarks, markLog, readLog } from "./log-journal.ts";
import { Plant, type PlantOptions } from "./plant.ts";
import { type Fault, type FaultKind, type Transport, transportOf } from "./schedule.ts";

/** What services promise on SIGTERM. */
const STOP_MS = 10_000;
/** The machines run on for so long after the last fault. */
const TAIL_STEPS = 20;

export type ScheduleOptions = PlantOptions & {
  readonly faults: readonly Fault[];
  readonly kafka?: LocalKafka;
  /** Opens the log that the services share: at the end, for a file of the plant's folder; also at the start, for a Kafka that others used before. */
  readonly openLog: (folder: string) => Promise<Log>;
  readonly isLogShared: boolean;
  /** How long nothing at all may come before a schedule is given up, or is said to be at rest; default 30 s. */
  readonly patienceMs?: number;
  readonly say: (text: string) => void;
};

/** How long the plant took from the end of a fault to its first new risk. */
export type Recovery = { readonly kind: FaultKind; readonly seconds: number };

export type ScheduleResult = {
  readonly seed: number;
  readonly transport: Transport;
  readonly verdict: Verdict;
  /** Faults that were done, in order. */
  readonly faults: readonly FaultKind[];
  /** Recoveries from what was killed that no other fault stretched. */
  readonly recoveries: readonly Recovery[];
  /** Windows under way when something was killed, over all kills. */
  readonly underWayAtKills: number;
  /** Times that services ended by themselves and were started again. */
  readonly exits: number;
  /** What went wrong beside the journals. */
  readonly problems: readonly string[];
  readonly seconds: number;
};

/** Runs one plant through one schedule of faults, lets it come to rest, stops it, and compares the journals. */
export async function runSchedule(options: ScheduleOptions): Promise<ScheduleResult> {
  const { seed, model, faults, kafka, openLog, isLogShared, patienceMs = 30_000, say } = options;
  const startedMs = performance.now();
  const problems: string[] = [];
  const provoked: string[] = [];
  const done: FaultKind[] = [];
  const spans = new Spans();
  const recoveries: Promise<void>[] = [];
  let underWayAtKills = 0;

  const marks = isLogShared ? await markSharedLog() : new Map();
  await using plant = await Plant.start(options);
  const { progress, steps } = plant;
  const scene = { plant, deployment: model.deployment, kafka, onProvoked: (code: string) => provoked.push(code) };
  const running: Promise<void>[] = [];
  for (const fault of faults) {
    if (fault.alone) await Promise.all(running);
    if (!(await progress.reached(fault.after, patienceMs))) {
      problems.push(`no progress for ${patienceMs / 1000} s before ${fault.kind}`);
      break;
    }
    say(`${fault.kind} after ${progress.acknowledged.length} frames, ${progress.risks} risks, ${progress.outstanding} windows under way`);
    if (fault.kind.startsWith("kill-")) underWayAtKills += progress.outstanding;
    done.push(fault.kind);
    running.push(inject(fault));
    if (!fault.alone) continue;
    await Promise.all(running);
    if (!(await within(Promise.all(recoveries), patienceMs))) problems.push(`no recovery for ${patienceMs / 1000} s after ${fault.kind}`);
  }
  await Promise.all(running);
  await steps.pass(TAIL_STEPS);
  await steps.end();
  const drained = Promise.all(plant.gateways.map(({ agent }) => agent.done));
  if (!(await within(drained, patienceMs))) problems.push("edge agents did not end after their machines stopped");
  if (!(await progress.settled(patienceMs))) problems.push(`at rest with ${progress.outstanding} acknowledged windows without a risk`);
  await within(Promise.all(recoveries), 1000);

  const exits = plant.processes.reduce((sum, process) => sum + process.exits, 0);
  for (const process of plant.services) {
    const { end, ms } = await process.stop();
    if (end !== 0 || ms > STOP_MS) problems.push(`${process.name} ended with ${end} after ${Math.round(ms)} ms of SIGTERM`);
  }
  if (plant.timeSeries.writes === 0) problems.push("nothing was written to the time-series database");
  progress.look();
  const log = await readJournal();
  const verdict = check(
    {
      ...log,
      acknowledged: progress.acknowledged,
      risks: plant.journal.risks,
      alerts: plant.journal.alerts(),
      newest: plant.journal.newest(),
      gaps: plant.journal.gaps(),
      provoked,
      expected: plant.machines.expectedScores(model.deployment.featureSet, model.head),
    },
    model.deployment.cards[0]!.alert,
  );
  const seconds = (performance.now() - startedMs) / 1000;
  const own = spans.ownRecoveries();
  if (problems.length > 0) for (const process of plant.processes) say(`${process.name}, its last lines:\n${process.tail()}`);
  return { seed, transport: transportOf(seed), verdict, faults: done, recoveries: own, underWayAtKills, exits, problems, seconds };

  async function inject(fault: Fault): Promise<void> {
    const span = spans.open(fault.kind);
    try {
      const restarted = await INJECTORS[fault.kind](scene, fault);
      span.endedMs = performance.now();
      if (restarted !== undefined) recoveries.push(watch(restarted, span));
    } catch (error) {
      problems.push(`${fault.kind}: ${error instanceof Error ? error.message : String(error)}`);
      span.endedMs = performance.now();
    }
  }

  async function watch({ atMs, gateway }: Restarted, span: Span): Promise<void> {
    span.restartedMs = atMs;
    span.recoveredMs = await progress.recovered(atMs, gateway);
  }

  async function markSharedLog(): Promise<LogMarks> {
    await using log = await openLog("");
    return await markLog(log);
  }

  async function readJournal() {
    await using log = await openLog(plant.folder);
    return await readLog(log, marks, plant.name, model.deployment.lanes);
  }
}

type Span = { readonly kind: FaultKind; readonly fromMs: number; endedMs: number; restartedMs?: number; recoveredMs?: number };

/** Faults that stop nothing for longer than a reconnection: recoveries beside them stand. */
const HARMLESS: ReadonlySet<FaultKind> = new Set([
  "duplicated-publish",
  "replayed-publish",
  "reordered-publish",
  "duplicated-delivery",
  "poison-message",
  "corrupt-ciphertext",
  "foreign-key",
  "forged-frame",
  "oversize-message",
  "renewed-gateway",
  "rotated-keys",
  "clock-skew",
  "time-series-down",
]);

/** When each fault was on. */
class Spans {
  readonly #spans: Span[] = [];

  open(kind: FaultKind): Span {
    const span: Span = { kind, fromMs: performance.now(), endedMs: Number.POSITIVE_INFINITY };
    this.#spans.push(span);
    return span;
  }

  /** Recoveries from kills during which no other fault was on that stops something. */
  ownRecoveries(): Recovery[] {
    const stopping = this.#spans.filter(({ kind }) => !HARMLESS.has(kind));
    return stopping.flatMap(({ kind, fromMs, restartedMs, recoveredMs }) => {
      if (!kind.startsWith("kill-") || restartedMs === undefined || recoveredMs === undefined) return [];
      const others = stopping.filter((other) => other.fromMs !== fromMs || other.kind !== kind);
      const isStretched = others.some(
        (other) => other.fromMs < recoveredMs && Math.max(other.endedMs, other.recoveredMs ?? 0) > restartedMs,
      );
      return isStretched ? [] : [{ kind, seconds: (recoveredMs - restartedMs) / 1000 }];
    });
  }
}

async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), ms);
  try {
    return await Promise.race([work.then(() => true), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
