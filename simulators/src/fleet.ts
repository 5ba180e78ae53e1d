import type { Row } from "@smile/features/spec";
import { LifeHistory } from "./life-history.ts";
import { drawCharacter, MACHINE_KINDS } from "./machine-character.ts";
import { randomStream } from "./random-stream.ts";
import { readSensors } from "./sensors.ts";
import { advance, firstState, type MachineState } from "./wear-process.ts";

export type FleetOptions = {
  /** The same seed gives the same fleet, rows and failures, machine by machine, however many machines there are. */
  readonly seed: number;
  readonly machines: number;
  /** Event time between two rows of a machine, in ms. A step stands for an hour of service whatever this is. */
  readonly stepMs: number;
  /** Event time of the first rows, in ms since 1970; default the first of January 2026. */
  readonly startMs?: number;
  /** Length of the cycle of the hall's temperature, in steps; default 24. */
  readonly stepsPerDay?: number;
};

/** Machines that run, wear, fail, are repaired and run again, and the truth about them. */
export type Fleet = {
  /** `pump-001`, `fan-002`, `compressor-003`, `pump-004` and so on. */
  readonly machines: readonly string[];
  readonly stepMs: number;
  /** Event time of the rows that the next `step()` returns. */
  readonly nextMs: number;
  /** One row per machine that is not under repair, all with the same time, in the order of `machines`; time goes on by `stepMs`. */
  step(): Row[];
  /** Times of the failures of a machine up to and including a time, ascending. A failed machine sends no row from then on. */
  failuresUpTo(machine: string, timeMs: number): number[];
  /** Time of the first failure after a time; looks ahead as far as needed and is exact. */
  nextFailureMs(machine: string, timeMs: number): number;
  /** Time of the first row of the life that runs at a time; null while the machine is under repair, and before the fleet starts. */
  lifeStartMs(machine: string, timeMs: number): number | null;
};

const DEFAULT_START_MS = Date.UTC(2026, 0, 1);

/**
 * A fleet of rotating machines, each a drive with a bearing: see wear-process.ts for how they wear and sensors.ts for what is seen
 * of it. Lives last some 250 to 700 steps, the first one less because it starts part worn: of 96 machines about 25 to 50 fail in
 * 250 to 300 steps, and about 75 in 400.
 * @throws {RangeError} when a number of the options is out of range, or for a machine that is not one of the fleet
 */
export function fleet(options: FleetOptions): Fleet {
  const { seed, machines, stepMs, startMs = DEFAULT_START_MS, stepsPerDay = 24 } = options;
  if (!Number.isInteger(machines) || machines < 1) throw new RangeError(`machines is ${machines}; it must be a whole number from 1 on`);
  if (!Number.isSafeInteger(stepMs) || stepMs < 1) throw new RangeError(`stepMs is ${stepMs}; it must be a whole number from 1 on`);
  if (!Number.isSafeInteger(startMs)) throw new RangeError(`startMs is ${startMs}; it must be a whole number`);
  if (!(stepsPerDay > 0)) throw new RangeError(`stepsPerDay is ${stepsPerDay}; it must be above 0`);

  const members = Array.from({ length: machines }, (_, index) => makeMember(seed, index, stepsPerDay));
  const byName = new Map(members.map((member) => [member.name, member]));
  let stepsDone = 0;

  const stepAt = (timeMs: number) => Math.floor((timeMs - startMs) / stepMs);
  const timeOf = (step: number) => startMs + step * stepMs;
  const livesOf = (machine: string): LifeHistory => {
    const member = byName.get(machine);
    if (member === undefined) throw new RangeError(`machine ${machine} is not one of the fleet's ${machines}`);
    return member.lives;
  };

  return {
    machines: members.map((member) => member.name),
    stepMs,
    get nextMs() {
      return timeOf(stepsDone);
    },
    step() {
      const timeMs = timeOf(stepsDone++);
      return members.flatMap((member) => {
        const values = member.step();
        return values === null ? [] : [{ machine: member.name, timeMs, values }];
      });
    },
    failuresUpTo: (machine, timeMs) =>
      livesOf(machine)
        .endedBy(stepAt(timeMs))
        .map((life) => timeOf(life.failure)),
    nextFailureMs: (machine, timeMs) => timeOf(livesOf(machine).lifeEndingAfter(stepAt(timeMs)).failure),
    lifeStartMs(machine, timeMs) {
      const step = stepAt(timeMs);
      const { start } = livesOf(machine).lifeEndingAfter(step);
      return step < 0 || step < start ? null : timeOf(start);
    },
  };
}

function makeMember(seed: number, index: number, stepsPerDay: number) {
  const kind = MACHINE_KINDS[index % MACHINE_KINDS.length]!;
  const character = drawCharacter(kind, randomStream(seed, index, "character"));
  const first = firstState(character, stepsPerDay, randomStream(seed, index, "process"));
  const noise = randomStream(seed, index, "noise");
  let state: MachineState | null = null;
  return {
    name: `${kind}-${String(index + 1).padStart(3, "0")}`,
    lives: new LifeHistory(first, character, stepsPerDay),
    step() {
      state = state === null ? first : advance(state, character, stepsPerDay);
      return state.repairSteps > 0 ? null : readSensors(state, character, noise);
    },
  };
}
