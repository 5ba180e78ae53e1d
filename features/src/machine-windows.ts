import type { LiftState } from "./lift-state.ts";

/** Event-time rule of a feature set: a window is (end - lengthMs, end], ends are multiples of hopMs. */
export type WindowRule = { readonly lengthMs: number; readonly hopMs: number; readonly latenessMs: number };

/** What a machine's order and window ends need beyond the lift's own state. Plain data. */
export type MachineClock = {
  /** Rows and windows up to this time are done. */
  watermarkMs: number;
  /** Time of the newest row that the lift has taken. */
  lastMs: number;
  /** End of the window that is emitted next, unless a gap makes it one without rows. */
  nextEndMs: number;
};

/** Rows that one machine may have waiting for their order; beyond it the oldest goes ahead. */
export const largestPending = 4096;

/** Receives the end of each window that is due, while the lift's state is that of the rows up to that end. */
export type OnWindow = (endMs: number) => void;

/** Order, lateness and window ends of one machine. Knows nothing of sensors; rows are handed on to the lift. */
export class MachineWindows {
  readonly lift: LiftState;
  readonly clock: MachineClock;
  /** Sorted by time; [time, sensors] of rows newer than the watermark. */
  readonly pending: { readonly timeMs: number; readonly sensors: Float64Array }[] = [];
  readonly #rule: WindowRule;
  overflowed = 0;

  constructor(rule: WindowRule, lift: LiftState, clock?: MachineClock) {
    this.#rule = rule;
    this.lift = lift;
    this.clock = clock ?? {
      watermarkMs: Number.NEGATIVE_INFINITY,
      lastMs: Number.NEGATIVE_INFINITY,
      nextEndMs: Number.NEGATIVE_INFINITY,
    };
  }

  /**
   * Takes a row, then hands on every row and emits every window that the watermark has passed. With lateness 0 a window is
   * emitted by the row that stands at its end: nothing at or before a watermark is ever taken later.
   * @param sensors copied where it must wait
   */
  take(timeMs: number, sensors: Float64Array, onWindow: OnWindow): "accepted" | "late" | "duplicate" {
    const { clock, pending } = this;
    if (timeMs === clock.lastMs) return "duplicate";
    if (timeMs <= clock.watermarkMs) return "late";
    let at = pending.length;
    while (at > 0 && pending[at - 1]!.timeMs > timeMs) at--;
    if (at > 0 && pending[at - 1]!.timeMs === timeMs) return "duplicate";
    clock.watermarkMs = Math.max(clock.watermarkMs, timeMs - this.#rule.latenessMs);
    if (pending.length === 0 && timeMs <= clock.watermarkMs) this.#handOn(timeMs, sensors, onWindow);
    else {
      pending.splice(at, 0, { timeMs, sensors: sensors.slice() });
      if (pending.length > largestPending) {
        this.overflowed++;
        clock.watermarkMs = Math.max(clock.watermarkMs, pending[0]!.timeMs);
      }
    }
    this.#drain(onWindow);
    return "accepted";
  }

  /** Ends the stream: every row waiting is handed on, and the last row gets the first window that covers it. */
  finish(onWindow: OnWindow): void {
    const { clock, pending } = this;
    const last = pending.at(-1)?.timeMs ?? clock.lastMs;
    if (last === Number.NEGATIVE_INFINITY) return;
    clock.watermarkMs = Math.max(clock.watermarkMs, this.#endCovering(last));
    this.#drain(onWindow);
  }

  #drain(onWindow: OnWindow): void {
    const { clock, pending } = this;
    let done = 0;
    while (done < pending.length && pending[done]!.timeMs <= clock.watermarkMs) {
      const { timeMs, sensors } = pending[done++]!;
      this.#handOn(timeMs, sensors, onWindow);
    }
    if (done > 0) pending.splice(0, done);
    while (clock.nextEndMs <= clock.watermarkMs && this.#emitNext(onWindow));
  }

  #handOn(timeMs: number, sensors: Float64Array, onWindow: OnWindow): void {
    const { clock } = this;
    while (clock.nextEndMs < timeMs && this.#emitNext(onWindow));
    if (clock.nextEndMs < timeMs) clock.nextEndMs = this.#endCovering(timeMs);
    this.overflowed += this.lift.add(timeMs, sensors);
    clock.lastMs = timeMs;
  }

  /** @returns false when the next window holds no row, and so neither does any after it until a row comes */
  #emitNext(onWindow: OnWindow): boolean {
    const { clock } = this;
    if (!(clock.lastMs > clock.nextEndMs - this.#rule.lengthMs)) return false;
    onWindow(clock.nextEndMs);
    clock.nextEndMs += this.#rule.hopMs;
    return true;
  }

  #endCovering(timeMs: number): number {
    return Math.ceil(timeMs / this.#rule.hopMs) * this.#rule.hopMs;
  }
}
