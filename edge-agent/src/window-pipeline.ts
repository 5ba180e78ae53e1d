import { isPipelineError } from "@smile/errors/pipeline-error";
import type { Refusal } from "@smile/features/lift-stream";
import type { FeatureSet, LiftedWindow, Row } from "@smile/features/spec";
import { WindowStream } from "@smile/features/window-stream";
import type { MessageId } from "@smile/schemas/envelopes";
import { type AssembleRule, FrameAssembler, type SealedWindows } from "./assemble.ts";
import type { AgentCounters } from "./counters.ts";
import type { EnvelopeSealer } from "./envelope-sealer.ts";
import type { LaneMap } from "./lane-map.ts";
import { type LoggedRow, rowBytes } from "./row-log.ts";
import { SnapshotPace } from "./snapshot-pace.ts";
import type { Dropped, SealedFrame } from "./spool.ts";
import type { EdgeStore, MachineState } from "./store.ts";

export type PipelineParts = {
  readonly gateway: string;
  readonly featureSet: FeatureSet;
  readonly places: LaneMap;
  readonly rule: AssembleRule;
  readonly sealer: Pick<EnvelopeSealer, "sealFrame">;
  readonly store: EdgeStore;
  readonly counters: AgentCounters;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly hooks: PipelineHooks;
};

export type PipelineHooks = {
  /** A window whose frame is durable, with the frame's id, its lane in the ciphertext and its block. Called once per window and run. */
  readonly onWindow?: (window: LiftedWindow, frameId: MessageId, lane: number, block: number) => void;
  /** A row that the lift refused, or whose machine has no lane. */
  readonly onRefused?: (refusal: Refusal | { readonly machine: string; readonly reason: "no-lane"; readonly field: "machine" }) => void;
  /** Frames that had to leave the spool so that newer ones had room. */
  readonly onDropped?: (dropped: Dropped) => void;
  /** A machine whose stored state belongs to another lift and that starts a new life. */
  readonly onForgotten?: (machine: string) => void;
};

type PendingFrame = SealedFrame & { readonly sealed: SealedWindows };

/**
 * Rows to durable frames, step by step: rows go in, `commit` makes everything since the last one durable at once (sealed frames, the
 * lifts that they came from, the windows still open). So after a crash the agent stands exactly where a commit left it, and goes on
 * bit for bit. Synchronous and without a clock of its own.
 */
export class WindowPipeline {
  readonly #parts: PipelineParts;
  readonly #stream: WindowStream;
  readonly #assembler: FrameAssembler;
  /** Newest row per machine that an earlier run had covered, until the source has gone past it. */
  readonly #covered = new Map<string, number>();
  /** Newest row per machine. */
  readonly #lastRowMs = new Map<string, number>();
  /** Sensors and settings whose values are kept of a row. */
  readonly #fields: readonly string[];
  readonly #pace = new SnapshotPace();
  /** Machines with a stored state that fits this lift: what came after it is in rows. */
  readonly #stored = new Set<string>();
  /** States of machines without a lane, whose rows an earlier run left behind, as they are to be stored. */
  readonly #parked = new Map<string, MachineState>();
  // Since the last commit:
  #rows: LoggedRow[] = [];
  /** Machines whose rows do not say where their lift stands. */
  readonly #unreplayable = new Set<string>();
  readonly #opened = new Set<LiftedWindow>();
  #closed: LiftedWindow[] = [];
  #frames: PendingFrame[] = [];

  /**
   * Takes up where the store's last commit left off.
   * @param atMs monotonic
   * @throws {PipelineError} DOCUMENT_INVALID when the feature set or a stored state is damaged
   */
  constructor(parts: PipelineParts, atMs: number) {
    this.#parts = parts;
    this.#stream = new WindowStream(parts.featureSet, { onRefused: (refusal) => this.#refuse(refusal) });
    this.#assembler = new FrameAssembler(parts.places, parts.rule);
    const { sensors, regimes } = parts.featureSet;
    this.#fields = [...sensors, ...(regimes?.settings ?? [])];
    const arrived = this.#restoreAll();
    const stored = parts.store.openWindows();
    const open = stored.filter(({ machine }) => parts.places.has(machine));
    const withoutLane = stored.filter(({ machine }) => !parts.places.has(machine));
    this.#closed.push(...withoutLane);
    parts.counters.abandoned += withoutLane.length;
    this.#seal(this.#assembler.restore(open, arrived, atMs));
  }

  /** Frames sealed since the last commit. */
  get sealedFrames(): number {
    return this.#frames.length;
  }

  /** Whether a commit would change anything. */
  get uncommitted(): boolean {
    return this.#rows.length > 0 || this.#unreplayable.size > 0 || this.#frames.length > 0 || this.#closed.length > 0;
  }

  /** When `tick` has something to do next, on the monotonic clock; null while nothing is open. */
  get deadlineMs(): number | null {
    return this.#assembler.deadlineMs;
  }

  /** Takes one row. Never throws for a bad one. */
  take(row: Row, atMs: number): void {
    const { counters, places } = this.#parts;
    counters.rows++;
    if (!places.has(row.machine)) {
      counters.refused.unknownMachine++;
      this.#parts.hooks.onRefused?.({ machine: row.machine, reason: "no-lane", field: "machine" });
      return;
    }
    const { accepted, late, duplicate } = this.#stream.counters;
    const windows = this.#stream.push(row);
    const after = this.#stream.counters;
    const coveredMs = this.#covered.get(row.machine);
    if (after.accepted > accepted) {
      this.#rows.push(this.#logged(row));
      this.#lastRowMs.set(row.machine, Math.max(row.timeMs, this.#lastRowMs.get(row.machine) ?? row.timeMs));
      if (coveredMs !== undefined && row.timeMs > coveredMs) this.#covered.delete(row.machine);
    } else if (after.late + after.duplicate > late + duplicate) {
      // The lift lets nothing pass twice; only what to call it depends on the run before.
      if (coveredMs !== undefined && row.timeMs <= coveredMs) counters.replayed++;
      else if (after.late > late) counters.late++;
      else counters.duplicate++;
    }
    this.#assemble(windows, atMs);
  }

  /** Seals what has waited long enough. */
  tick(atMs: number): void {
    this.#seal(this.#assembler.tick(atMs));
  }

  /** Emits the windows still open in the lifts: for the end of a stream, not for a restart. */
  flush(atMs: number): void {
    const windows = this.#stream.flush();
    for (const machine of this.#lastRowMs.keys()) this.#unreplayable.add(machine);
    this.#assemble(windows, atMs);
  }

  /** Seals every window that waits. */
  sealAll(): void {
    this.#seal(this.#assembler.sealAll());
  }

  /**
   * Makes everything so far durable, then tells `onWindow`.
   * @throws {PipelineError} STORE_UNAVAILABLE: nothing changed, and the call may be tried again
   */
  commit(): void {
    if (!this.uncommitted) return;
    const { store, counters, gateway, hooks } = this.#parts;
    const frames = this.#frames;
    const plan = this.#planStates();
    const dropped = store.commit({
      frames,
      states: [...plan.states.values()],
      opened: [...this.#opened],
      closed: this.#closed,
      rows: this.#rows.filter(({ machine }) => !plan.states.has(machine)),
      rowsFrom: this.#pace.neededFrom(plan) ?? store.nextCommit + 1,
    });
    this.#pace.done(plan);
    for (const machine of plan.states.keys()) {
      this.#stored.add(machine);
      this.#parked.delete(machine);
    }
    counters.commits++;
    counters.droppedFrames += dropped.frames;
    counters.droppedWindows += dropped.windows;
    counters.frames += frames.length;
    this.#frames = [];
    this.#closed = [];
    this.#opened.clear();
    this.#rows = [];
    this.#unreplayable.clear();
    for (const { sequence, sealed } of frames) {
      counters.framedWindows += sealed.entries.length;
      const frameId = { gateway, epoch: store.epoch, sequence };
      if (hooks.onWindow) for (const { lane, window } of sealed.entries) hooks.onWindow(window, frameId, lane, sealed.block);
    }
    if (dropped.frames > 0) hooks.onDropped?.(dropped);
  }

  #assemble(windows: readonly LiftedWindow[], atMs: number): void {
    for (const window of windows) {
      this.#parts.counters.windows++;
      this.#parts.counters.clipped += window.clipped;
      this.#opened.add(window);
      this.#seal(this.#assembler.add(window, atMs));
    }
  }

  #seal(groups: readonly SealedWindows[]): void {
    const { sealer, store, gateway, now } = this.#parts;
    for (const sealed of groups) {
      const sequence = store.nextSequence + this.#frames.length;
      const envelope = sealer.sealFrame({ gateway, epoch: store.epoch, sequence }, sealed, now());
      this.#frames.push({ sequence, envelope, windows: sealed.entries.length, frameTimeMs: sealed.frameTimeMs, sealed });
      for (const { window } of sealed.entries) if (!this.#opened.delete(window)) this.#closed.push(window);
    }
  }

  #refuse(refusal: Refusal): void {
    this.#parts.counters.refused.unusable++;
    this.#parts.hooks.onRefused?.(refusal);
  }

  /** A machine's first state is stored at once, and that which rows cannot tell; the others as the pace has it. */
  #planStates() {
    const commit = this.#parts.store.nextCommit;
    const required = new Set(this.#unreplayable);
    let bytes = 0;
    for (const row of this.#rows) {
      bytes += rowBytes(row);
      this.#pace.wait(row.machine, commit);
      if (!this.#stored.has(row.machine)) required.add(row.machine);
    }
    return this.#pace.plan(bytes, (machine) => this.#parked.get(machine) ?? this.#state(machine), required);
  }

  #state(machine: string): MachineState {
    return {
      machine,
      snapshot: JSON.stringify(this.#stream.snapshot(machine)),
      lastRowMs: this.#lastRowMs.get(machine)!,
      arrivedMs: this.#assembler.arrivedMs(machine),
    };
  }

  /**
   * Puts every lift where the last commit left it: its state, then the rows after it. The windows that those make are on the disk already,
   * open or in a frame.
   * @returns newest window end per machine with a lane
   */
  #restoreAll(): Map<string, number> {
    const { store, places } = this.#parts;
    const arrived = new Map<string, number>();
    const restore = (state: MachineState) => {
      if (!this.#restore(state)) return;
      this.#stored.add(state.machine);
      if (state.arrivedMs !== null) arrived.set(state.machine, state.arrivedMs);
    };
    const withoutLane = new Map<string, MachineState>();
    for (const state of store.states()) {
      if (places.has(state.machine)) restore(state);
      else withoutLane.set(state.machine, state);
    }
    const behind = new Set<string>();
    for (const { commit, row } of store.rowsSinceStates()) {
      const { machine } = row;
      const left = withoutLane.get(machine);
      if (left !== undefined && !behind.has(machine)) restore(left);
      behind.add(machine);
      if (!this.#stored.has(machine)) continue; // of another lift
      const ends = this.#stream.push({ machine, timeMs: row.timeMs, values: this.#valuesOf(row) });
      for (const { endMs } of ends) arrived.set(machine, endMs);
      this.#lastRowMs.set(machine, Math.max(row.timeMs, this.#lastRowMs.get(machine)!));
      this.#pace.wait(machine, commit);
    }
    for (const machine of this.#stored) {
      if (places.has(machine)) this.#covered.set(machine, this.#lastRowMs.get(machine)!);
      else this.#park(machine, arrived);
    }
    return arrived;
  }

  /** A machine that left the lease does nothing here any more, but its rows are kept until a state covers them. */
  #park(machine: string, arrived: Map<string, number>): void {
    this.#parked.set(machine, { ...this.#state(machine), arrivedMs: arrived.get(machine) ?? null });
    this.#stream.forget(machine);
    this.#lastRowMs.delete(machine);
    arrived.delete(machine);
  }

  #logged({ machine, timeMs, values }: Row): LoggedRow {
    return { machine, timeMs, values: this.#fields.map((field) => values[field]!) };
  }

  #valuesOf({ values }: LoggedRow): Row["values"] {
    return Object.fromEntries(this.#fields.map((field, i) => [field, values[i]!]));
  }

  /** @returns false when the machine starts a new life */
  #restore({ machine, snapshot, lastRowMs }: MachineState): boolean {
    try {
      this.#stream.restore(machine, JSON.parse(snapshot));
    } catch (error) {
      if (!isPipelineError(error) || error.facts.field !== "stateKey") throw error;
      if (this.#parts.places.has(machine)) this.#parts.hooks.onForgotten?.(machine);
      return false;
    }
    this.#lastRowMs.set(machine, lastRowMs);
    return true;
  }
}
