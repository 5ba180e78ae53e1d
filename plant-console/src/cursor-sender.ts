import type { CursorMessage } from "@smile/schemas/cursor";

/**
 * Sends the newest cursor, one at a time: while one is on its way, the last of those that follow waits, and asks to resume if any of
 * them did.
 */
export class CursorSender {
  readonly #send: (cursor: CursorMessage) => Promise<void>;
  #waiting: CursorMessage | null = null;
  #sending: Promise<void> | null = null;

  /** @param send rejects only when it is too late for any cursor */
  constructor(send: (cursor: CursorMessage) => Promise<void>) {
    this.#send = send;
  }

  offer(cursor: CursorMessage): void {
    this.#waiting = { ...cursor, resume: cursor.resume || this.#waiting?.resume === true };
    this.#sending ??= this.#run().finally(() => {
      this.#sending = null;
    });
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    await this.#sending;
  }

  async #run(): Promise<void> {
    while (this.#waiting !== null) {
      const cursor = this.#waiting;
      this.#waiting = null;
      try {
        await this.#send(cursor);
      } catch {
        this.#waiting = null; // the link is closed; the next process sends the stored cursor anew
      }
    }
  }
}
