import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { calibrationWork } from "./calibration.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/**
 * `cpu`: time on the CPU of all threads of this process, which other processes on the machine do not lengthen. `wall`: for what waits
 * or works on several threads.
 */
export type Clock = "cpu" | "wall";

/** Something to measure. */
export type Case = {
  readonly name: string;
  /** Default `cpu`. */
  readonly clock?: Clock;
  /** Things (frames, windows) that one call handles; default 1. */
  readonly perCall?: number;
  readonly run: () => unknown;
};

/** Least warm-up of the calibration loop, milliseconds: run before it is compiled, it would make everything else look fast. */
const CALIBRATION_WARM_UP_MS = 300;

export type SamplingRule = {
  /** Samples per case. */
  readonly samples: number;
  /** Least time of one sample, milliseconds. */
  readonly sampleMs: number;
  /** Time that each case runs before anything is measured, milliseconds by its own clock. */
  readonly warmUpMs: number;
};

/** A case's samples, microseconds per thing, and beside each what the calibration loop took in the same round. */
export type Samples = {
  readonly clock: Clock;
  readonly us: readonly number[];
  readonly calibrationUs: readonly number[];
  /**
   * A small difference of large times, whose error is theirs, or a step of microseconds, which differs by a quarter from process to process,
   * as it was compiled: what they are part of is judged.
   */
  readonly isPart: boolean;
};

/** Microseconds since some origin. */
export const clocks: Record<Clock, () => number> = {
  cpu: () => {
    const { user, system } = process.cpuUsage();
    return user + system;
  },
  wall: () => performance.now() * 1000,
};

/**
 * Measures cases side by side: each round takes one sample of every case and one of the calibration loop, so that what disturbs the
 * machine for a while disturbs all of them, and samples of one round may be subtracted or divided.
 * @returns by the case's name
 */
export async function sampleTogether(
  cases: readonly Case[],
  { samples, sampleMs, warmUpMs }: SamplingRule,
): Promise<ReadonlyMap<string, Samples>> {
  const calibration: Case = { name: "calibration", run: calibrationWork };
  const calls = new Map<Case, number>();
  calls.set(calibration, await warmUp(calibration, Math.max(warmUpMs, CALIBRATION_WARM_UP_MS), sampleMs));
  for (const each of cases) calls.set(each, await warmUp(each, warmUpMs, sampleMs));
  const times = new Map(
    cases.map(({ name, clock = "cpu" }) => [name, { clock, us: [] as number[], calibrationUs: [] as number[], isPart: false }]),
  );
  for (let round = 0; round < samples; round++) {
    const calibrationUs = await sample(calibration, calls.get(calibration)!);
    for (const each of cases) {
      const entry = times.get(each.name)!;
      entry.us.push(await sample(each, calls.get(each)!));
      entry.calibrationUs.push(calibrationUs);
    }
  }
  return times;
}

/** @returns how many calls make a sample of the wanted length */
async function warmUp(each: Case, warmUpMs: number, sampleMs: number): Promise<number> {
  // By the case's own clock: on a busy machine a while on the wall is little time to run, and the compiler needs runs.
  const now = clocks[each.clock ?? "cpu"];
  const until = now() + warmUpMs * 1000;
  let calls = 1;
  let callUs = 0;
  do {
    callUs = (await sample(each, calls)) * (each.perCall ?? 1);
    // The CPU clock has a resolution of 1 us at best: what is shorter counts as that.
    calls = Math.max(1, Math.ceil((sampleMs * 1000) / Math.max(callUs, 0.01)));
    calls = Math.min(calls, 1_000_000);
  } while (now() < until);
  return calls;
}

async function sample({ clock = "cpu", perCall = 1, run }: Case, calls: number): Promise<number> {
  // A case pays for its own garbage, and not for that of the case before it.
  collectGarbage();
  const now = clocks[clock];
  const began = now();
  for (let i = 0; i < calls; i++) {
    const result = run();
    if (result instanceof Promise) await result;
  }
  return (now() - began) / (calls * perCall);
}

/** A step of what is measured as a whole, too. */
export function partOf(samples: Samples): Samples {
  return { ...samples, isPart: true };
}

/** What one of two cases takes more than the other, round by round: how a step is measured that cannot be called alone. */
export function difference(whole: Samples, part: Samples): Samples {
  return { ...whole, us: whole.us.map((us, i) => us - part.us[i]!), isPart: true };
}

/** Samples per `count` smaller things. */
export function dividedBy(samples: Samples, count: number): Samples {
  return { ...samples, us: samples.us.map((us) => us / count) };
}

/** The sum of cases, round by round. */
export function sumOf(first: Samples, ...rest: readonly Samples[]): Samples {
  return { ...first, us: first.us.map((us, i) => rest.reduce((sum, other) => sum + other.us[i]!, us)) };
}
