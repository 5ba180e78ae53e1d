import { isPipelineError } from "@smile/errors/pipeline-error";
import type { Refusal } from "@smile/features/lift-stream";
import type { FeatureSet, LiftedWindow, Row } from "@smile/features/spec";
import { WindowStream } from "@smile/features/window-stream";
import type { MessageId } from "@smile/schemas/envelopes";
import { type AssembleRule, FrameAssembler, type SealedWindows } from "./assemble.ts";
import type { AgentCounters } from "./counters.ts";
import type { EnvelopeSealer } from "./envelope-sealer.ts";
import type { LaneMap } from "./lane-map.ts";
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
  // Since the last commit:
  readonly #touched = new Set<string>();
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
    const states = parts.store.states().filter((state) => parts.places.has(state.machine) && this.#restore(state));
    const arrived = states.flatMap(({ machine, arrivedMs }) => (arrivedMs === null ? [] : [[machine, arrivedMs] as const]));
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
    return this.#touched.size > 0 || this.#frames.length > 0 || this.#closed.length > 0;
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
      this.#touched.add(row.machine);
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
    for (const machine of this.#lastRowMs.keys()) this.#touched.add(machine);
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
    const dropped = store.commit({
      frames,
      states: [...this.#touched].map((machine) => this.#state(machine)),
      opened: [...this.#opened],
      closed: this.#closed,
    });
    counters.commits++;
    counters.droppedFrames += dropped.frames;
    counters.droppedWindows += dropped.windows;
    counters.frames += frames.length;
    this.#frames = [];
    this.#closed = [];
    this.#opened.clear();
    this.#touched.clear();
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

  #state(machine: string): MachineState {
    return {
      machine,
      snapshot: JSON.stringify(this.#stream.snapshot(machine)),
      lastRowMs: this.#lastRowMs.get(machine)!,
      arrivedMs: this.#assembler.arrivedMs(machine),
    };
  }

  /** @returns false when the machine starts a new life */
  #restore({ machine, snapshot, lastRowMs }: MachineState): boolean {
    try {
      this.#stream.restore(machine, JSON.parse(snapshot));
    } catch (error) {
      if (!isPipelineError(error) || error.facts.field !== "stateKey") throw error;
      this.#parts.hooks.onForgotten?.(machine);
      return false;
    }
    this.#covered.set(machine, lastRowMs);
    this.#lastRowMs.set(machine, lastRowMs);
    return true;
  }
}
