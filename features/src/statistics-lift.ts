import type { LiftState } from "./lift-state.ts";
import type { Statistic, StatisticsLift } from "./spec.ts";

/**
 * Rows of the windows still open of one machine, and their statistics. Bounded: when more than `largestRows` rows fall into one
 * window length, the oldest of them leave early.
 */
export class StatisticsState implements LiftState {
  readonly #lift: StatisticsLift;
  readonly #sensors: number;
  readonly #lengthMs: number;
  readonly #largestRows: number;
  /** Rings of `#capacity` rows; row n of the machine stands at (n mod capacity). */
  #capacity = 16;
  #times: Float64Array;
  #values: Float64Array;
  #first = 0;
  #rows = 0;

  constructor(lift: StatisticsLift, sensors: number, lengthMs: number, largestRows: number) {
    this.#lift = lift;
    this.#sensors = sensors;
    this.#lengthMs = lengthMs;
    this.#largestRows = largestRows;
    this.#times = new Float64Array(this.#capacity);
    this.#values = new Float64Array(this.#capacity * sensors);
  }

  /** @param numbers of a `snapshot`: rows of [time, sensors...] */
  static restore(lift: StatisticsLift, sensors: number, lengthMs: number, largestRows: number, numbers: Float64Array): StatisticsState {
    const state = new StatisticsState(lift, sensors, lengthMs, largestRows);
    for (let i = 0; i < numbers.length; i += sensors + 1) state.add(numbers[i]!, numbers.subarray(i + 1, i + 1 + sensors));
    return state;
  }

  add(timeMs: number, sensors: Float64Array): number {
    this.#dropUpTo(timeMs - this.#lengthMs);
    const full = this.#rows === this.#largestRows;
    if (full) this.#dropFirst();
    if (this.#rows === this.#capacity) this.#grow();
    const at = (this.#first + this.#rows) % this.#capacity;
    this.#times[at] = timeMs;
    this.#values.set(sensors, at * this.#sensors);
    this.#rows++;
    return full ? 1 : 0;
  }

  ready(endMs: number): boolean {
    this.#dropUpTo(endMs - this.#lengthMs);
    return this.#rows >= this.#lift.minimumRows;
  }

  /** Order of `out`: all statistics of the first sensor, then of the second, and so on. */
  read(endMs: number, out: Float64Array): void {
    this.#dropUpTo(endMs - this.#lengthMs);
    const statistics = this.#lift.statistics;
    const meanTime = this.#meanTime();
    for (let s = 0; s < this.#sensors; s++) {
      const found = this.#describe(s, meanTime);
      for (let k = 0; k < statistics.length; k++) out[s * statistics.length + k] = found[statistics[k]!];
    }
  }

  snapshot(): Float64Array {
    const width = this.#sensors + 1;
    const numbers = new Float64Array(this.#rows * width);
    for (let n = 0; n < this.#rows; n++) {
      const at = (this.#first + n) % this.#capacity;
      numbers[n * width] = this.#times[at]!;
      numbers.set(this.#values.subarray(at * this.#sensors, (at + 1) * this.#sensors), n * width + 1);
    }
    return numbers;
  }

  /** Slope: change along the least-squares line over one window length. Deviation: of the population. Both 0 for one row. */
  #describe(sensor: number, meanTime: number): Record<Statistic, number> {
    let sum = 0;
    let minimum = Number.POSITIVE_INFINITY;
    let maximum = Number.NEGATIVE_INFINITY;
    let last = 0;
    for (let n = 0; n < this.#rows; n++) {
      last = this.#values[((this.#first + n) % this.#capacity) * this.#sensors + sensor]!;
      sum += last;
      if (last < minimum) minimum = last;
      if (last > maximum) maximum = last;
    }
    const mean = sum / this.#rows;
    let squares = 0;
    let products = 0;
    let timeSquares = 0;
    for (let n = 0; n < this.#rows; n++) {
      const at = (this.#first + n) % this.#capacity;
      const difference = this.#values[at * this.#sensors + sensor]! - mean;
      const time = (this.#times[at]! - meanTime) / this.#lengthMs;
      squares += difference * difference;
      products += time * difference;
      timeSquares += time * time;
    }
    const slope = timeSquares > 0 ? products / timeSquares : 0;
    return { mean, last, slope, deviation: Math.sqrt(squares / this.#rows), minimum, maximum };
  }

  #meanTime(): number {
    const origin = this.#times[this.#first]!;
    let sum = 0; // of differences, because milliseconds since 1970 would cost digits
    for (let n = 0; n < this.#rows; n++) sum += this.#times[(this.#first + n) % this.#capacity]! - origin;
    return origin + sum / this.#rows;
  }

  #dropUpTo(timeMs: number): void {
    while (this.#rows > 0 && this.#times[this.#first]! <= timeMs) this.#dropFirst();
  }

  #dropFirst(): void {
    this.#first = (this.#first + 1) % this.#capacity;
    this.#rows--;
  }

  #grow(): void {
    const numbers = this.snapshot();
    const width = this.#sensors + 1;
    this.#capacity *= 2;
    this.#times = new Float64Array(this.#capacity);
    this.#values = new Float64Array(this.#capacity * this.#sensors);
    this.#first = 0;
    for (let n = 0; n < this.#rows; n++) {
      this.#times[n] = numbers[n * width]!;
      this.#values.set(numbers.subarray(n * width + 1, (n + 1) * width), n * this.#sensors);
    }
  }
}
