import { checkFeatureSet } from "./check-feature-set.ts";
import { featureCount } from "./feature-count.ts";
import { FeatureEncoder } from "./feature-encoder.ts";
import { LiftStream, type Refusal } from "./lift-stream.ts";
import type { MachineSnapshot } from "./machine-snapshot.ts";
import type { FeatureSet, LiftedWindow, Row } from "./spec.ts";
import type { StreamCounters } from "./stream-counters.ts";

const none: LiftedWindow[] = [];
/** Windows whose features share a buffer, which lives as long as any of them. */
const WINDOWS_PER_BUFFER = 32;

/**
 * Rows in, windows of integer features out, for all machines of a gateway. Training runs this very class, so what a head learned
 * on is what the edge sends.
 *
 * Machines do not touch each other: a refused, late or repeated row is counted and changes nothing. Memory per machine is bounded.
 */
export class WindowStream {
  readonly #lift: LiftStream;
  readonly #encoder: FeatureEncoder;
  readonly #features: number;
  /** Room for the features of the windows to come: a buffer of its own for each would cost more than the window. */
  #room: Int32Array;
  #due: LiftedWindow[] = none;

  /**
   * @param options.onRefused told of each refused row, by machine, reason and field
   * @throws {PipelineError} DOCUMENT_INVALID naming the field of the feature set
   */
  constructor(spec: FeatureSet, options: { onRefused?: (refusal: Refusal) => void } = {}) {
    checkFeatureSet(spec);
    this.#features = featureCount(spec);
    this.#room = new Int32Array(0);
    this.#encoder = new FeatureEncoder(spec);
    this.#lift = new LiftStream(spec, (machine, endMs, lifted) => this.#encode(machine, endMs, lifted), options.onRefused);
  }

  /** Live counts; see `StreamCounters`. */
  get counters(): Readonly<StreamCounters> {
    return this.#lift.counters;
  }

  /** Machines that have a state. */
  get machines(): readonly string[] {
    return this.#lift.machines;
  }

  /** @returns windows that this row made due, in order of their ends; all of the row's machine. Never throws for a bad row */
  push(row: Row): LiftedWindow[] {
    this.#lift.push(row);
    return this.#takeDue();
  }

  /**
   * For the end of a stream, not for a restart (take a snapshot there): windows still open are emitted up to the first that
   * covers each machine's last row. Rows that come later than that window's end go on.
   */
  flush(machine?: string): LiftedWindow[] {
    this.#lift.flush(machine);
    return this.#takeDue();
  }

  /** JSON-able state of a machine, some 5 to 10 KB for the degradation lift; null when it has none. */
  snapshot(machine: string): MachineSnapshot | null {
    return this.#lift.snapshot(machine);
  }

  /**
   * Puts a machine where a snapshot left it; every window after is bit for bit what it would have been.
   * @throws {PipelineError} DOCUMENT_INVALID when the snapshot is damaged, or of another version or lift
   */
  restore(machine: string, snapshot: unknown): void {
    this.#lift.restore(machine, snapshot);
  }

  /** Forgets a machine, for instance because it was replaced: its next row starts a new life. */
  forget(machine: string): void {
    this.#lift.forget(machine);
  }

  #encode(machine: string, endMs: number, lifted: Float64Array): void {
    if (this.#room.length < this.#features) this.#room = new Int32Array(WINDOWS_PER_BUFFER * this.#features);
    const features = this.#room.subarray(0, this.#features);
    this.#room = this.#room.subarray(this.#features);
    const clipped = this.#encoder.encode(lifted, features);
    this.#lift.counters.clipped += clipped;
    if (this.#due === none) this.#due = [];
    this.#due.push({ machine, endMs, features, clipped });
  }

  #takeDue(): LiftedWindow[] {
    const due = this.#due;
    this.#due = none;
    return due === none ? [] : due;
  }
}
