import { isGood } from "./checker.ts";
import type { ScheduleResult } from "./run-schedule.ts";
import type { FaultKind } from "./schedule.ts";

/** The last line of `npm run test:faults -- --json`. */
export type FaultReport = {
  readonly schedules: number;
  /** Schedules in which gateways and console had mutual TLS with the brokers; the others were on one machine's loopback without. */
  readonly withTls: number;
  readonly faults: number;
  /** Windows that gateways were told are safe, and risks that the plant stored. */
  readonly acknowledged: number;
  readonly risks: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly outOfOrder: number;
  readonly unexpected: number;
  readonly wrong: number;
  readonly unrefused: number;
  /** Late windows, flagged as such; windows under way at the kills; services that ended by themselves and were started again. */
  readonly late: number;
  /** Windows that gateways had to drop and told the plant of. */
  readonly dropped: number;
  readonly underWayAtKills: number;
  readonly exits: number;
  /** From the restart of what was killed to the first new risk, where no other fault was on. null without any. */
  readonly recoverySecondsP50: number | null;
  readonly recoverySecondsMax: number | null;
  readonly byKind: Readonly<Record<string, number>>;
  readonly recoveryByKind: Readonly<Record<string, { readonly count: number; readonly p50: number; readonly max: number }>>;
  /** Kinds that this machine cannot inject. */
  readonly notRun: readonly string[];
  readonly failedSeeds: readonly number[];
  readonly log: string;
  readonly seconds: number;
};

export function reportOf(results: readonly ScheduleResult[], notRun: readonly FaultKind[], log: string, seconds: number): FaultReport {
  const sum = (value: (result: ScheduleResult) => number) => results.reduce((total, result) => total + value(result), 0);
  const recoveries = results.flatMap((result) => result.recoveries);
  const kinds = results.flatMap(({ faults }) => faults);
  const { p50, max } = figures(recoveries.map((recovery) => recovery.seconds));
  return {
    schedules: results.length,
    withTls: results.filter(({ transport }) => transport === "tls").length,
    faults: kinds.length,
    acknowledged: sum(({ verdict }) => verdict.acknowledged),
    risks: sum(({ verdict }) => verdict.risks),
    lost: sum(({ verdict }) => verdict.lost),
    duplicated: sum(({ verdict }) => verdict.duplicated),
    outOfOrder: sum(({ verdict }) => verdict.outOfOrder),
    unexpected: sum(({ verdict }) => verdict.unexpected),
    wrong: sum(({ verdict }) => verdict.wrong),
    unrefused: sum(({ verdict }) => verdict.unrefused),
    dropped: sum(({ verdict }) => verdict.dropped),
    late: sum(({ verdict }) => verdict.late),
    underWayAtKills: sum(({ underWayAtKills }) => underWayAtKills),
    exits: sum(({ exits }) => exits),
    recoverySecondsP50: p50,
    recoverySecondsMax: max,
    byKind: Object.fromEntries([...Map.groupBy(kinds, (kind) => kind)].map(([kind, all]) => [kind, all.length])),
    recoveryByKind: Object.fromEntries(
      [...Map.groupBy(recoveries, ({ kind }) => kind)].map(([kind, all]) => {
        const { p50, max } = figures(all.map((recovery) => recovery.seconds));
        return [kind, { count: all.length, p50: p50!, max: max! }];
      }),
    ),
    notRun,
    failedSeeds: results.filter((result) => !hasPassed(result)).map(({ seed }) => seed),
    log,
    seconds: round(seconds),
  };
}

export function hasPassed({ verdict, problems }: ScheduleResult): boolean {
  return isGood(verdict) && problems.length === 0;
}

function figures(seconds: readonly number[]): { p50: number | null; max: number | null } {
  const sorted = seconds.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return middle === undefined ? { p50: null, max: null } : { p50: round(middle), max: round(sorted.at(-1)!) };
}

function round(seconds: number): number {
  return Math.round(seconds * 100) / 100;
}
