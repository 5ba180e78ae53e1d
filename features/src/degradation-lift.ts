import type { LiftState } from "./lift-state.ts";
import type { DegradationLift } from "./spec.ts";

/** The averages start from the mean of so many rows, so that one odd first reading does not colour a slow average for long. */
const startRows = 5;

/**
 * State of the degradation lift (lift B) of one machine: bounded by slopeRows + averages + 2 numbers per sensor.
 *
 * An exponential average started at s and fed x_1..x_k is e_k + (1 - a)^k s, with e_k the average started at zero. Kept in that
 * form, s can be the mean of the first five rows and the state is still causal: while rows 1 to 5 come, s is the mean so far.
 */
export class DegradationState implements LiftState {
  readonly #lift: DegradationLift;
  readonly #sensors: number;
  #rows = 0;
  /** (1 - a)^rows per average. */
  readonly #remaining: Float64Array;
  /** [averages][sensors], each started at zero. */
  readonly #averages: Float64Array;
  /** [sensors] sums of the first rows. */
  readonly #startSum: Float64Array;
  readonly #baselineSum: Float64Array;
  /** [slopeRows][sensors], a ring: row n stands at n mod slopeRows. */
  readonly #recent: Float64Array;

  constructor(lift: DegradationLift, sensors: number) {
    this.#lift = lift;
    this.#sensors = sensors;
    this.#remaining = new Float64Array(lift.averages.length).fill(1);
    this.#averages = new Float64Array(lift.averages.length * sensors);
    this.#startSum = new Float64Array(sensors);
    this.#baselineSum = new Float64Array(sensors);
    this.#recent = new Float64Array(lift.slopeRows * sensors);
  }

  /** Length of a snapshot: the same at every moment of a machine's life. */
  static snapshotLength(lift: DegradationLift, sensors: number): number {
    return 1 + lift.averages.length + (lift.averages.length + 2 + lift.slopeRows) * sensors;
  }

  /** @param numbers of a `snapshot` of the same lift and as many sensors */
  static restore(lift: DegradationLift, sensors: number, numbers: Float64Array): DegradationState {
    const state = new DegradationState(lift, sensors);
    let from = 1;
    state.#rows = numbers[0]!;
    for (const part of state.#parts()) {
      part.set(numbers.subarray(from, from + part.length));
      from += part.length;
    }
    return state;
  }

  add(_timeMs: number, sensors: Float64Array): number {
    const count = this.#sensors;
    const factors = this.#lift.averages;
    for (let a = 0; a < factors.length; a++) {
      const factor = factors[a]!;
      this.#remaining[a]! *= 1 - factor;
      for (let s = 0, i = a * count; s < count; s++, i++) this.#averages[i]! += factor * (sensors[s]! - this.#averages[i]!);
    }
    this.#recent.set(sensors, (this.#rows % this.#lift.slopeRows) * count);
    if (this.#rows < startRows) for (let s = 0; s < count; s++) this.#startSum[s]! += sensors[s]!;
    if (this.#rows < this.#lift.baselineRows) for (let s = 0; s < count; s++) this.#baselineSum[s]! += sensors[s]!;
    this.#rows++;
    return 0;
  }

  ready(): boolean {
    return this.#rows > this.#lift.warmupRows;
  }

  /** Order of `out`: each average of all sensors, then all slopes, all drifts, all differences of fast and slow, the age. */
  read(_endMs: number, out: Float64Array): void {
    const count = this.#sensors;
    const averages = this.#lift.averages.length;
    const starting = Math.min(this.#rows, startRows);
    for (let a = 0, i = 0; a < averages; a++) {
      for (let s = 0; s < count; s++, i++) out[i] = this.#averages[i]! + (this.#remaining[a]! * this.#startSum[s]!) / starting;
    }
    this.#readSlopes(out, averages * count);
    const middle = Math.floor(averages / 2) * count;
    const slow = (averages - 1) * count;
    const drift = (averages + 1) * count;
    const baselineRows = Math.min(this.#rows, this.#lift.baselineRows);
    for (let s = 0; s < count; s++) {
      out[drift + s] = out[middle + s]! - this.#baselineSum[s]! / baselineRows;
      out[drift + count + s] = out[s]! - out[slow + s]!;
    }
    // Divided by 5 to be near 1 for some hundred rows; standardisation follows anyway.
    out[drift + 2 * count] = Math.log1p(this.#rows) / 5;
  }

  snapshot(): Float64Array {
    const numbers = new Float64Array(DegradationState.snapshotLength(this.#lift, this.#sensors));
    numbers[0] = this.#rows;
    let to = 1;
    for (const part of this.#parts()) {
      numbers.set(part, to);
      to += part.length;
    }
    return numbers;
  }

  #parts(): Float64Array[] {
    return [this.#remaining, this.#averages, this.#startSum, this.#baselineSum, this.#recent];
  }

  /** Least-squares slope per row over the last rows, times their number: the change along the fitted line. */
  #readSlopes(out: Float64Array, to: number): void {
    const count = this.#sensors;
    const length = this.#lift.slopeRows;
    const rows = Math.min(this.#rows, length);
    out.fill(0, to, to + count);
    if (rows < 2) return;
    const scale = 12 / (rows * rows - 1); // rows / sum of (t - mean of t)^2
    let at = (this.#rows - rows) % length;
    for (let t = 0; t < rows; t++) {
      const weight = (t - (rows - 1) / 2) * scale;
      for (let s = 0, i = at * count; s < count; s++, i++) out[to + s]! += weight * this.#recent[i]!;
      at = at + 1 === length ? 0 : at + 1;
    }
  }
}
