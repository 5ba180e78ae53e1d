import { checkLiftSpec, type LiftSpec } from "./check-feature-set.ts";
import { DegradationState } from "./degradation-lift.ts";
import { liftWidth } from "./feature-count.ts";
import type { LiftState } from "./lift-state.ts";
import { type MachineSnapshot, readSnapshot, stateKey, writeSnapshot } from "./machine-snapshot.ts";
import { MachineWindows } from "./machine-windows.ts";
import { normalise } from "./regime-normaliser.ts";
import type { Row } from "./spec.ts";
import { StatisticsState } from "./statistics-lift.ts";
import { type RefusalReason, zeroCounters } from "./stream-counters.ts";

/** Rows that one window may hold in memory; beyond it the oldest leave early. */
const largestWindowRows = 4096;

/** A row that was refused, named without its values. `field` is the sensor or setting, or `timeMs`. */
export type Refusal = { readonly machine: string; readonly reason: RefusalReason; readonly field: string };

/**
 * Receives each lifted vector. `lifted` [lift width] is overwritten by the next window: read it at once or copy it.
 */
export type OnLifted = (machine: string, endMs: number, lifted: Float64Array) => void;

/**
 * The first half of the way of a window, for many machines: row -> order -> regime -> state -> lifted vector. Training reads its
 * vectors to fit the standardisation; the edge uses it inside a `WindowStream`.
 */
export class LiftStream {
  readonly counters = zeroCounters();
  readonly #spec: LiftSpec;
  readonly #onLifted: OnLifted;
  readonly #onRefused: ((refusal: Refusal) => void) | undefined;
  readonly #settingNames: readonly string[];
  readonly #machines = new Map<string, MachineWindows>();
  readonly #sensors: Float64Array;
  readonly #settings: Float64Array;
  readonly #lifted: Float64Array;
  readonly #stateKey: string;

  /** @throws {PipelineError} DOCUMENT_INVALID naming the field of the specification */
  constructor(spec: LiftSpec, onLifted: OnLifted, onRefused?: (refusal: Refusal) => void) {
    checkLiftSpec(spec);
    this.#spec = spec;
    this.#onLifted = onLifted;
    this.#onRefused = onRefused;
    this.#settingNames = spec.regimes?.settings ?? [];
    this.#sensors = new Float64Array(spec.sensors.length);
    this.#settings = new Float64Array(this.#settingNames.length);
    this.#lifted = new Float64Array(liftWidth(spec.lift, spec.sensors.length));
    this.#stateKey = stateKey(spec);
  }

  /** Machines that have a state, in the order of their first row. */
  get machines(): readonly string[] {
    return [...this.#machines.keys()];
  }

  /** Takes one row; lifted vectors that it makes due go to the callback before this returns. Never throws for a bad row. */
  push(row: Row): void {
    if (!this.#readRow(row)) return;
    let machine = this.#machines.get(row.machine);
    if (!machine) {
      machine = new MachineWindows(this.#spec.window, this.#newState());
      this.#machines.set(row.machine, machine);
    }
    const before = machine.overflowed;
    this.counters[machine.take(row.timeMs, this.#sensors, this.#emit(row.machine, machine))]++;
    this.counters.overflowed += machine.overflowed - before;
  }

  /** Ends the stream of one machine, or of all: what waits is put in order, and the last row gets its window. */
  flush(machine?: string): void {
    for (const [name, state] of this.#machines) if (machine === undefined || name === machine) state.finish(this.#emit(name, state));
  }

  /** @returns JSON-able state of the machine, or null when it has none */
  snapshot(machine: string): MachineSnapshot | null {
    const state = this.#machines.get(machine);
    return state ? writeSnapshot(this.#stateKey, state) : null;
  }

  /**
   * Puts a machine where a snapshot left it, in place of any state it has.
   * @throws {PipelineError} DOCUMENT_INVALID when the snapshot is damaged, or was taken with another lift
   */
  restore(machine: string, snapshot: unknown): void {
    const { clock, pending, numbers } = readSnapshot(this.#stateKey, this.#spec, snapshot);
    const { lift, sensors, window } = this.#spec;
    const state =
      lift.kind === "degradation"
        ? DegradationState.restore(lift, sensors.length, numbers)
        : StatisticsState.restore(lift, sensors.length, window.lengthMs, largestWindowRows, numbers);
    const restored = new MachineWindows(window, state, clock);
    restored.pending.push(...pending);
    this.#machines.set(machine, restored);
  }

  /** Forgets a machine, for instance because it was replaced: its next row starts a new life. */
  forget(machine: string): void {
    this.#machines.delete(machine);
  }

  #newState(): LiftState {
    const { lift, sensors, window } = this.#spec;
    return lift.kind === "degradation"
      ? new DegradationState(lift, sensors.length)
      : new StatisticsState(lift, sensors.length, window.lengthMs, largestWindowRows);
  }

  #emit(name: string, machine: MachineWindows): (endMs: number) => void {
    return (endMs) => {
      if (!machine.lift.ready(endMs)) {
        this.counters.tooFewRows++;
        return;
      }
      machine.lift.read(endMs, this.#lifted);
      this.counters.windows++;
      this.#onLifted(name, endMs, this.#lifted);
    };
  }

  /** Reads the row into the scratch arrays and normalises it. @returns false when the row was refused */
  #readRow(row: Row): boolean {
    if (!Number.isFinite(row.timeMs) || Math.abs(row.timeMs) > Number.MAX_SAFE_INTEGER)
      return this.#refuse(row, "time-not-finite", "timeMs");
    if (!this.#readValues(row, this.#spec.sensors, this.#sensors)) return false;
    if (!this.#readValues(row, this.#settingNames, this.#settings)) return false;
    if (this.#spec.regimes) normalise(this.#spec.regimes, this.#settings, this.#sensors);
    return true;
  }

  #readValues(row: Row, names: readonly string[], into: Float64Array): boolean {
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      const value: unknown = row.values?.[name];
      if (value === undefined || value === null) return this.#refuse(row, "value-missing", name);
      // Beyond 1e100 a square overflows; no sensor reads so much.
      if (typeof value !== "number" || !(Math.abs(value) < 1e100)) return this.#refuse(row, "value-not-finite", name);
      into[i] = value;
    }
    return true;
  }

  #refuse(row: Row, reason: RefusalReason, field: string): false {
    this.counters.refused[reason]++;
    this.#onRefused?.({ machine: row.machine, reason, field });
    return false;
  }
}
