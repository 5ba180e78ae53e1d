import { rmSync, writeFileSync } from "node:fs";

/** Enough for what SQLite's journal holds before it is written back (1,000 pages), and for the main file to take that in. */
const ballastBytes = 8 << 20;

/**
 * A file that only takes up room. On a full disk SQLite can delete nothing, for even that needs room in the journal: an agent whose own
 * spool filled the disk would be stuck for good. Then the ballast is given up.
 */
export class Ballast {
  readonly #path: string | undefined;

  /** @param store path of the store whose ballast it is; one in memory needs none */
  constructor(store: string) {
    this.#path = store === ":memory:" ? undefined : `${store}-ballast`;
  }

  /** Takes the room. @returns false when there is not that much */
  take(): boolean {
    if (this.#path === undefined) return true;
    try {
      writeFileSync(this.#path, new Uint8Array(ballastBytes), { mode: 0o600 });
      return true;
    } catch {
      this.release(); // part of it would be of no use
      return false;
    }
  }

  /** Gives the room up. */
  release(): void {
    if (this.#path !== undefined) rmSync(this.#path, { force: true });
  }
}
