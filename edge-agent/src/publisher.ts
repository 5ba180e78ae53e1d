import { setTimeout as delay } from "node:timers/promises";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { AgentCounters } from "./counters.ts";
import type { EnvelopeSealer } from "./envelope-sealer.ts";
import { SendSchedule } from "./send-schedule.ts";
import type { Outgoing, SpoolItem } from "./spool.ts";
import type { EdgeStore } from "./store.ts";
import { unlessStopped } from "./unless-stopped.ts";

/** Sends one envelope, of a frame or a gap, to the broker. */
export interface FrameSender {
  /**
   * Resolves once the broker has acknowledged it; waits through lost connections. May deliver it more than once.
   * @throws {PipelineError} retriable when it was not acknowledged and has to be sent again; otherwise it never will be
   */
  send(envelope: Uint8Array, stop: AbortSignal): Promise<void>;
}

/** What the publisher needs of the store. */
export type PublisherStore = Pick<
  EdgeStore,
  "nextSequence" | "unsent" | "acknowledged" | "peek" | "take" | "acknowledge" | "removeAcknowledged" | "quarantine"
>;

export type PublisherParts = {
  readonly spool: PublisherStore;
  /** Signs gaps when they are sent for the first time. */
  readonly sealer: Pick<EnvelopeSealer, "sealGap">;
  readonly sender: FrameSender;
};

export type PublisherRule = {
  /** Messages under way at most. */
  readonly window: number;
  /** Bytes of the largest envelope that the broker takes. */
  readonly largestBytes: number;
  /** Before a message that was not acknowledged is sent again. */
  readonly retryMs: number;
  /** Frames and gaps of a backlog, per second. What can be sent within a second is no backlog: it keeps its order. */
  readonly backlogFramesPerSecond: number;
};

/** Acknowledged messages are deleted in transactions of this many, or once nothing is under way. A crash before sends them again. */
const largestDelete = 32;

/**
 * Empties the spool with a bounded number of messages under way, for as long as the agent lives. When a connection is made and more
 * waits than can be sent within a second, that is the backlog: frames that are sealed from then on go before it, in their own order,
 * and the backlog follows in its own, at a limited rate. Gaps go in their place among the frames. A frame leaves the spool only when
 * the broker has acknowledged it, into the quarantine when no broker can take it, or when the spool's bounds ask for it.
 */
export class SpoolPublisher {
  readonly #spool: PublisherStore;
  readonly #sealer: PublisherParts["sealer"];
  readonly #sender: FrameSender;
  readonly #rule: PublisherRule;
  readonly #counters: AgentCounters;
  readonly #onQuarantine: (sequence: number, error: PipelineError) => void;
  readonly #schedule: SendSchedule;
  /** Sequences below it are the backlog; 0 when there is none. */
  #boundary = 0;
  /** Frames below were taken: of the backlog, and of the live ones. */
  #backlogFrom = 0;
  #liveFrom = 0;
  #underWay = 0;
  /** Resolved and replaced at each commit and each acknowledgement. */
  #changed = Promise.withResolvers<void>();
  #failure: unknown;

  constructor(
    { spool, sealer, sender }: PublisherParts,
    rule: PublisherRule,
    counters: AgentCounters,
    onQuarantine: (sequence: number, error: PipelineError) => void,
  ) {
    this.#spool = spool;
    this.#sealer = sealer;
    this.#sender = sender;
    this.#rule = rule;
    this.#counters = counters;
    this.#onQuarantine = onQuarantine;
    this.#schedule = new SendSchedule(rule.backlogFramesPerSecond, performance.now());
    this.connected();
  }

  /** Says that a connection was made: what waits now is the backlog, if it is more than can be sent within a second. */
  connected(): void {
    const isBacklog = this.#spool.unsent > this.#rule.backlogFramesPerSecond;
    this.#boundary = isBacklog ? this.#spool.nextSequence : 0;
    this.#liveFrom = isBacklog ? this.#spool.nextSequence : this.#backlogFrom;
    this.wake();
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
        const next = this.#startNext(stop);
        if (next === "empty" && finish.aborted && this.#underWay === 0) return;
        await unlessStopped(typeof next === "number" ? within(next, changed) : changed, stop);
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

  /**
   * Sends what the window and the schedule allow.
   * @returns when to try again, in ms, at the latest; otherwise what is waited for: an acknowledgement, or something to send
   */
  #startNext(stop: AbortSignal): number | "full" | "empty" {
    while (this.#underWay < this.#rule.window) {
      const live = this.#spool.peek({ from: this.#liveFrom, gapsFrom: this.#boundary, before: Number.MAX_SAFE_INTEGER });
      const backlog = this.#boundary === 0 ? undefined : this.#spool.peek({ from: this.#backlogFrom, gapsFrom: 0, before: this.#boundary });
      if (live === undefined && backlog === undefined) return "empty";
      const nowMs = performance.now();
      const lane = this.#schedule.take({ live: live !== undefined, backlog: backlog !== undefined }, nowMs);
      if (lane === null) return this.#schedule.waitMs(nowMs);
      const item = (lane === "live" ? live : backlog)!;
      const taken = this.#take(item);
      if (taken === undefined) return this.#rule.retryMs;
      if (item.kind === "frame") {
        if (lane === "live") this.#liveFrom = item.sequence + 1;
        else this.#backlogFrom = item.sequence + 1;
      }
      this.#start(taken, stop);
    }
    return "full";
  }

  /** @returns undefined while the disk does not let a gap be sealed */
  #take(item: SpoolItem): Outgoing | undefined {
    try {
      return this.#spool.take(item);
    } catch (error) {
      if (!isPipelineError(error) || !error.retriable) throw error;
      return undefined;
    }
  }

  #start(item: Outgoing, stop: AbortSignal): void {
    this.#underWay++;
    this.#send(item, stop)
      .then(() => this.#deleteAcknowledged(this.#underWay === 1 ? 1 : largestDelete))
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        this.#underWay--;
        this.wake();
      });
  }

  async #send(item: Outgoing, stop: AbortSignal): Promise<void> {
    const { kind, sequence } = item;
    // Signed once for all its tries.
    const envelope = item.kind === "gap" ? this.#sealer.sealGap(item.gap) : item.envelope;
    try {
      if (kind === "frame") this.#checkSize(envelope);
      await this.#untilAcknowledged(envelope, stop);
    } catch (error) {
      if (stop.aborted) return; // it stays in the spool for the next start
      if (!isPipelineError(error) || error.retriable || kind === "gap") throw error;
      this.#spool.quarantine(sequence, error.message);
      this.#counters.quarantined++;
      this.#onQuarantine(sequence, error);
      return;
    }
    this.#spool.acknowledge(sequence);
    if (kind === "gap") {
      this.#counters.gapsPublished++;
      return;
    }
    this.#counters.published++;
    this.#counters.publishedBytes += envelope.length;
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

  /** @param least acknowledged messages that are worth a transaction */
  #deleteAcknowledged(least: number): void {
    if (this.#spool.acknowledged < least) return;
    try {
      this.#spool.removeAcknowledged();
    } catch (error) {
      // Tried again with the next acknowledgement; should the agent end before, these are sent again under their old ids.
      if (!isPipelineError(error) || !error.retriable) throw error;
    }
  }
}

/** Resolves after a time, or with the promise, whichever is first. */
async function within(ms: number, promise: Promise<void>): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(over.resolve, ms);
  try {
    await Promise.race([promise, over.promise]);
  } finally {
    clearTimeout(timer);
  }
}
