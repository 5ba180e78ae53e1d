import { setTimeout as delay } from "node:timers/promises";
import { isPipelineError } from "@smile/errors/pipeline-error";
import type { FrameSender } from "../publisher.ts";
import { unlessStopped } from "../unless-stopped.ts";

export type SendingRule = {
  /** Frames under way at most. */
  readonly window: number;
  /** Before a frame that was not acknowledged is sent again. */
  readonly retryMs: number;
};

/** Sends frames with a bounded number under way, each until it is acknowledged, and collects the acknowledgements. */
export class BoundedSending {
  readonly #sender: FrameSender;
  readonly #rule: SendingRule;
  readonly #stop: AbortSignal;
  #underWay = 0;
  #acknowledged: number[] = [];
  #failed = false;
  #failure: unknown;
  /** Resolved and replaced whenever a frame is no longer under way. */
  #changed = Promise.withResolvers<void>();

  /** @param stop gives up what is under way */
  constructor(sender: FrameSender, rule: SendingRule, stop: AbortSignal) {
    this.#sender = sender;
    this.#rule = rule;
    this.#stop = stop;
  }

  /** Acknowledged frames that were not taken yet. */
  get acknowledged(): number {
    return this.#acknowledged.length;
  }

  takeAcknowledged(): number[] {
    const taken = this.#acknowledged;
    this.#acknowledged = [];
    return taken;
  }

  /** Puts back what could not be noted. */
  giveBack(sequences: readonly number[]): void {
    this.#acknowledged.push(...sequences);
  }

  /** Resolves when another frame may start, or at the stop. @throws {PipelineError} why a frame never will be acknowledged */
  room(): Promise<void> {
    return this.#atMost(this.#rule.window - 1);
  }

  /** Resolves when nothing is under way, or at the stop. @throws {PipelineError} as `room` */
  drained(): Promise<void> {
    return this.#atMost(0);
  }

  /** Starts one more; the caller waited for `room`. */
  start(sequence: number, envelope: Uint8Array): void {
    this.#underWay++;
    this.#untilAcknowledged(envelope)
      .then(() => this.#acknowledged.push(sequence))
      .catch((error: unknown) => {
        if (this.#stop.aborted || this.#failed) return;
        this.#failed = true;
        this.#failure = error;
      })
      .finally(() => {
        this.#underWay--;
        this.#changed.resolve();
        this.#changed = Promise.withResolvers();
      });
  }

  async #atMost(underWay: number): Promise<void> {
    for (;;) {
      if (this.#failed) throw this.#failure;
      if (this.#underWay <= underWay || this.#stop.aborted) return;
      await unlessStopped(this.#changed.promise, this.#stop);
    }
  }

  async #untilAcknowledged(envelope: Uint8Array): Promise<void> {
    for (;;) {
      try {
        return await this.#sender.send(envelope, this.#stop);
      } catch (error) {
        if (this.#stop.aborted || !isPipelineError(error) || !error.retriable) throw error;
        await delay(this.#rule.retryMs, undefined, { signal: this.#stop });
      }
    }
  }
}
