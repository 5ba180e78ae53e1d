import { setTimeout as delay } from "node:timers/promises";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { AgentCounters } from "./counters.ts";
import type { EdgeStore, SpooledFrame } from "./store.ts";
import { unlessStopped } from "./unless-stopped.ts";

/** Sends one frame to the broker. */
export interface FrameSender {
  /**
   * Resolves once the broker has acknowledged the frame; waits through lost connections. May deliver it more than once.
   * @throws {PipelineError} retriable when the frame was not acknowledged and has to be sent again; otherwise it never will be
   */
  send(envelope: Uint8Array, stop: AbortSignal): Promise<void>;
}

/** What the publisher needs of the store. */
export type Spool = Pick<EdgeStore, "spooled" | "remove" | "quarantine">;

export type PublisherRule = {
  /** Frames under way at most. */
  readonly window: number;
  /** Bytes of the largest envelope that the broker takes. */
  readonly largestBytes: number;
  /** Before a frame that was not acknowledged is sent again. */
  readonly retryMs: number;
};

/** Acknowledged frames are deleted in transactions of this many, or once nothing is under way. A crash before sends them again. */
const largestDelete = 32;

/**
 * Empties the spool in order, with a bounded number of frames under way, for as long as the agent lives. A frame leaves the spool
 * only when the broker has acknowledged it, or into the store's quarantine when no broker can take it; none is dropped.
 */
export class SpoolPublisher {
  readonly #spool: Spool;
  readonly #sender: FrameSender;
  readonly #rule: PublisherRule;
  readonly #counters: AgentCounters;
  readonly #onQuarantine: (sequence: number, error: PipelineError) => void;
  /** Newest sequence that was taken out of the spool for sending. */
  #sent = -1;
  #underWay = 0;
  #acknowledged: number[] = [];
  /** Resolved and replaced at each commit and each acknowledgement. */
  #changed = Promise.withResolvers<void>();
  #failure: unknown;

  constructor(
    spool: Spool,
    sender: FrameSender,
    rule: PublisherRule,
    counters: AgentCounters,
    onQuarantine: (sequence: number, error: PipelineError) => void,
  ) {
    this.#spool = spool;
    this.#sender = sender;
    this.#rule = rule;
    this.#counters = counters;
    this.#onQuarantine = onQuarantine;
  }

  /** Says that frames were committed to the spool. */
  wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /**
   * Works until `stop`, or until the spool is empty after `finish`.
   * @throws {PipelineError} when the store fails
   */
  async run(stop: AbortSignal, finish: AbortSignal): Promise<void> {
    const onFinish = () => this.wake();
    finish.addEventListener("abort", onFinish, { once: true });
    try {
      while (!stop.aborted) {
        if (this.#failure !== undefined) throw this.#failure;
        const changed = this.#changed.promise;
        const frames = this.#spool.spooled(this.#sent, this.#rule.window - this.#underWay);
        for (const frame of frames) this.#start(frame, stop);
        if (frames.length > 0) continue;
        if (finish.aborted && this.#underWay === 0) return;
        await unlessStopped(changed, stop);
      }
    } finally {
      finish.removeEventListener("abort", onFinish);
      this.#deleteAcknowledged(1);
    }
  }

  /** Resolves once nothing is under way: after `run`, when the sender is disposed, and before the store closes. */
  async settled(): Promise<void> {
    while (this.#underWay > 0) await this.#changed.promise;
  }

  #start(frame: SpooledFrame, stop: AbortSignal): void {
    this.#sent = frame.sequence;
    this.#underWay++;
    this.#send(frame, stop)
      .then(() => this.#deleteAcknowledged(this.#underWay === 1 ? 1 : largestDelete))
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        this.#underWay--;
        this.wake();
      });
  }

  async #send(frame: SpooledFrame, stop: AbortSignal): Promise<void> {
    const { sequence, envelope } = frame;
    try {
      this.#checkSize(envelope);
      await this.#untilAcknowledged(envelope, stop);
    } catch (error) {
      if (stop.aborted) return; // it stays in the spool for the next start
      if (!isPipelineError(error) || error.retriable) throw error;
      this.#spool.quarantine(frame, error.message);
      this.#counters.quarantined++;
      this.#onQuarantine(sequence, error);
      return;
    }
    this.#counters.published++;
    this.#counters.publishedBytes += envelope.length;
    this.#acknowledged.push(sequence);
  }

  async #untilAcknowledged(envelope: Uint8Array, stop: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await this.#sender.send(envelope, stop);
      } catch (error) {
        if (stop.aborted || !isPipelineError(error) || !error.retriable) throw error;
        await delay(this.#rule.retryMs, undefined, { signal: stop }).catch(() => {}); // a stop ends it early
      }
    }
  }

  #checkSize(envelope: Uint8Array): void {
    const { largestBytes } = this.#rule;
    if (envelope.length <= largestBytes) return;
    throw new PipelineError("FRAME_WRONG_LENGTH", `the envelope has ${envelope.length} bytes; the broker takes ${largestBytes}`, {
      length: envelope.length,
      largestBytes,
    });
  }

  /** @param least acknowledged frames that are worth a transaction */
  #deleteAcknowledged(least: number): void {
    if (this.#acknowledged.length < least) return;
    const sequences = this.#acknowledged;
    try {
      this.#spool.remove(sequences);
      this.#acknowledged = [];
    } catch (error) {
      // Tried again with the next acknowledgement; should the agent end before, these frames are sent again under their old ids.
      if (!isPipelineError(error) || !error.retriable) throw error;
    }
  }
}
