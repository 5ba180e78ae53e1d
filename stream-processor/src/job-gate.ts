import { setTimeout as delay } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import { FairTurns } from "./fair-turns.ts";

export type JobGateRule = {
  /** Frames and batches of jobs in the log that wait to be scored, at most. */
  readonly limit: number;
  /** Between two looks at how many wait. Default 100: as often as readers of the log say how far they are. */
  readonly lookEveryMs?: number;
  /** How long a frame may wait here. Default 10 s: below the time after which a broker gives a client up (`hookTimeoutMs`). */
  readonly longestWaitMs?: number;
};

/** Who waits, since when. */
type Waiter = { readonly turn: PromiseWithResolvers<void>; readonly sinceMs: number };

/** So long a look is good for: other ingresses fill the log, too. */
const FRESH_MS = 1000;

const stopped = () => new PipelineError("STOPPED", "the service is stopping");

/**
 * Lets frames of jobs into the log, plant by plant in turns, while few enough wait there to be scored: so a plant's million records
 * neither fill the log nor stand before another plant's hundred. The rest of a job waits at its source, whose acknowledgements wait here.
 */
export class JobGate implements Disposable {
  /** Frames that were given back because they waited too long, by plant. */
  readonly exceeded: Record<string, number> = Object.create(null);
  readonly #backlog: () => Promise<number>;
  readonly #rule: Required<JobGateRule>;
  readonly #turns = new FairTurns<Waiter>();
  readonly #stop = new AbortController();
  /** Frames that may go before the next look. */
  #room = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;
  /** Frames that were let through and whose end is open. */
  #underWay = 0;
  /** Of these, and of those let through since, as many as the look under way may or may not see. */
  #unseen = 0;
  #looking = false;

  /** @param backlog how many frames and batches of jobs wait in the log, other ingresses' included */
  constructor(backlog: () => Promise<number>, { limit, lookEveryMs = 100, longestWaitMs = 10_000 }: JobGateRule) {
    this.#backlog = backlog;
    this.#rule = { limit, lookEveryMs, longestWaitMs };
  }

  /** Frames that wait for their turn. */
  get waiting(): number {
    return this.#turns.size;
  }

  /**
   * Does the work when it is the plant's turn.
   * @param plant a registered one, or one name for all others
   * @param work resolves with whether it put a frame into the log; if not, the place is somebody else's
   * @throws {PipelineError} BACKLOG_FULL when the turn did not come in time; STOPPED when disposed; LOG_UNAVAILABLE; what `work` rejects with
   */
  async through(plant: string, work: () => Promise<boolean>): Promise<void> {
    await this.#turn(plant);
    try {
      if (!(await work())) {
        this.#room += 1;
        this.#unseen -= 1;
      }
    } finally {
      this.#underWay -= 1;
      this.#admit();
    }
  }

  /** Whoever waits need not wait for the end of its wait. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const { turn } of this.#turns.remove(() => true)) turn.reject(stopped());
  }

  async #turn(plant: string): Promise<void> {
    if (this.#stop.signal.aborted) throw stopped();
    const nowMs = performance.now();
    if (this.#turns.size === 0 && this.#room > 0 && nowMs - this.#lookedMs < FRESH_MS) return this.#letThrough();
    const waiter: Waiter = { turn: Promise.withResolvers(), sinceMs: nowMs };
    this.#turns.add(plant, waiter);
    if (!this.#looking) void this.#look();
    try {
      await waiter.turn.promise;
    } catch (error) {
      if (error instanceof PipelineError && error.code === "BACKLOG_FULL") this.exceeded[plant] = (this.exceeded[plant] ?? 0) + 1;
      throw error;
    }
  }

  #letThrough(): void {
    this.#room -= 1;
    this.#underWay += 1;
    this.#unseen += 1;
  }

  #admit(): void {
    while (this.#room > 0) {
      const waiter = this.#turns.next();
      if (waiter === undefined) return;
      this.#letThrough();
      waiter.turn.resolve();
    }
  }

  /** Looks again and again while anybody waits. */
  async #look(): Promise<void> {
    this.#looking = true;
    while (this.#turns.size > 0) {
      this.#unseen = this.#underWay;
      try {
        const waiting = await this.#backlog();
        // What may be among those that wait counts twice until the next look: rather too few than too many.
        this.#room = this.#rule.limit - waiting - this.#unseen;
        this.#lookedMs = performance.now();
        this.#admit();
      } catch (error) {
        for (const { turn } of this.#turns.remove(() => true)) turn.reject(error);
      }
      this.#giveBack(performance.now());
      if (this.#turns.size > 0) await delay(this.#rule.lookEveryMs, undefined, { signal: this.#stop.signal }).catch(() => {}); // a stop ends it early
    }
    this.#looking = false;
  }

  #giveBack(nowMs: number): void {
    const { longestWaitMs } = this.#rule;
    for (const { turn } of this.#turns.remove(({ sinceMs }) => nowMs - sinceMs >= longestWaitMs))
      turn.reject(new PipelineError("BACKLOG_FULL", `frames of jobs wait to be scored, and this one waited ${longestWaitMs} ms`));
  }
}
