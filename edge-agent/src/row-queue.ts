import { PipelineError } from "@smile/errors/pipeline-error";
import type { Row } from "@smile/features/spec";
import type { RowBatch, RowSource } from "./source.ts";

/** A bounded queue between a program that makes rows and an agent in the same process. One agent reads it. */
export class RowQueue implements RowSource {
  readonly #capacity: number;
  readonly #largestBatch: number;
  #rows: Row[] = [];
  #taken = 0;
  #acknowledged = 0;
  #ended = false;
  #stopped = false;
  /** Resolved and replaced whenever something above changes. */
  #changed = Promise.withResolvers<void>();

  /** @param bounds.capacity rows that wait at most; @param bounds.largestBatch rows that the agent takes at once */
  constructor(bounds: { capacity: number; largestBatch?: number } = { capacity: 1024 }) {
    this.#capacity = bounds.capacity;
    this.#largestBatch = bounds.largestBatch ?? 256;
  }

  /** Rows that the agent has covered by a commit. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /**
   * Resolves once the row is in the queue: at once while there is room.
   * @throws {PipelineError} STOPPED when the queue was ended or its agent stops
   */
  async push(row: Row): Promise<void> {
    while (!this.offer(row)) await this.#changed.promise;
  }

  /** Puts the row into the queue if there is room. @throws {PipelineError} STOPPED as `push` */
  offer(row: Row): boolean {
    if (this.#ended || this.#stopped) throw new PipelineError("STOPPED", "the row queue takes no more rows");
    if (this.#rows.length >= this.#capacity) return false;
    this.#rows.push(row);
    this.#announce();
    return true;
  }

  /** Says that no row follows. */
  end(): void {
    this.#ended = true;
    this.#announce();
  }

  async *batches(stop: AbortSignal): AsyncGenerator<RowBatch> {
    const onStop = () => {
      this.#stopped = true;
      this.#announce();
    };
    stop.addEventListener("abort", onStop, { once: true });
    if (stop.aborted) onStop();
    try {
      while (!this.#stopped) {
        if (this.#rows.length > 0) {
          const rows = this.#rows.splice(0, this.#largestBatch);
          this.#taken += rows.length;
          this.#announce();
          yield { rows, position: this.#taken, malformed: 0 };
        } else if (this.#ended) return;
        else await this.#changed.promise;
      }
    } finally {
      stop.removeEventListener("abort", onStop);
      onStop(); // nobody reads any more: whoever waits for room has to know
    }
  }

  ack(position: number): void {
    this.#acknowledged = position;
  }

  #announce(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
