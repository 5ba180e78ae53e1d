import type { Row } from "@smile/features/spec";
import { type FleetOptions, fleet } from "./fleet.ts";

/** One life of one machine from its first row to its failure. */
export type TrainingHistory = {
  readonly machine: string;
  /** 0 for the first, part worn life of the machine. */
  readonly life: number;
  /** In order of time, `stepMs` apart. */
  readonly rows: readonly Row[];
  /** [rows] time from the row to the failure, in ms, at least `stepMs`. */
  readonly timeToFailureMs: readonly number[];
};

/**
 * Runs to failure with their truth, as a plant would have collected them before it trains: complete lives only.
 * @param options.lives of each machine; default 2, so that part worn and new machines are both seen
 * @returns machines * lives histories, ordered by machine, then life
 */
export function trainingHistories(options: FleetOptions & { readonly lives?: number }): TrainingHistory[] {
  const { lives = 2, ...rest } = options;
  const source = fleet(rest);
  const open = new Map<string, TrainingHistory[]>(source.machines.map((machine) => [machine, []]));
  const ends = new Map(source.machines.map((machine) => [machine, lifeEnds(source, machine, lives)]));
  const lastMs = Math.max(...[...ends.values()].map((times) => times.at(-1) ?? 0));
  while (source.nextMs < lastMs) {
    for (const row of source.step()) {
      const life = ends.get(row.machine)!.findIndex((failureMs) => row.timeMs < failureMs);
      if (life < 0) continue;
      const histories = open.get(row.machine)!;
      histories[life] ??= { machine: row.machine, life, rows: [], timeToFailureMs: [] };
      (histories[life].rows as Row[]).push(row);
      (histories[life].timeToFailureMs as number[]).push(ends.get(row.machine)![life]! - row.timeMs);
    }
  }
  return [...open.values()].flat();
}

function lifeEnds(source: ReturnType<typeof fleet>, machine: string, lives: number): number[] {
  const ends: number[] = [];
  let timeMs = source.nextMs - 1;
  while (ends.length < lives) {
    timeMs = source.nextFailureMs(machine, timeMs);
    ends.push(timeMs);
  }
  return ends;
}
