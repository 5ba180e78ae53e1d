import { lookAtFile } from "@smile/runtime/file-look";
import type { Logger } from "@smile/runtime/logging";

/** Files that belong together, such as a certificate and its key: any of them changes, all are read anew. */
export type WatchedGroup = {
  /** Name in logs and metrics. */
  readonly name: string;
  readonly paths: readonly string[];
  /** Reads the files and puts what is in them in force. What it throws leaves everything as it was. */
  readonly take: () => void | Promise<void>;
};

/** How often a group's files were taken in anew, and how often they were refused. */
export type Reloads = { taken: number; refused: number };

/**
 * Looks after files that are replaced while the agent runs. A change is taken in once two looks in a row have found the same files, so
 * that a file half written, or a certificate whose key is still to come, is not taken for a mistake. A refused change is said once,
 * and what was in force stays in force. Not by the file system's own events: they fail on network drives and in containers' mounts.
 */
export class WatchedFiles {
  readonly #groups: readonly (WatchedGroup & { seen: string; settled: string })[];
  readonly #log: Logger;
  readonly reloads: Readonly<Record<string, Readonly<Reloads>>>;
  #looking: Promise<void> = Promise.resolve();

  /** The files as they are now count as taken. */
  constructor(groups: readonly WatchedGroup[], log: Logger) {
    this.#groups = groups.map((group) => {
      const now = appearance(group.paths);
      return { ...group, seen: now, settled: now };
    });
    this.#log = log;
    this.reloads = Object.fromEntries(groups.map(({ name }) => [name, { taken: 0, refused: 0 }]));
  }

  /** Looks at every file once; after the look before it, if that still goes on. Never rejects. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  /** Looks again and again, without keeping the process alive, until disposed of; that waits for the look under way. */
  every(ms: number): AsyncDisposable {
    let idle = true;
    const timer = setInterval(() => {
      if (!idle) return;
      idle = false;
      void this.look().finally(() => {
        idle = true;
      });
    }, ms).unref();
    return {
      [Symbol.asyncDispose]: () => {
        clearInterval(timer);
        return this.#looking;
      },
    };
  }

  async #look(): Promise<void> {
    for (const group of this.#groups) {
      const now = appearance(group.paths);
      const stands = now === group.seen;
      group.seen = now;
      if (!stands || now === group.settled) continue;
      group.settled = now;
      const reloads: Reloads = this.reloads[group.name]!;
      try {
        await group.take();
        reloads.taken++;
        this.#log.info({ files: group.name }, "files have changed: what is in them is in force now");
      } catch (err) {
        reloads.refused++;
        this.#log.error({ files: group.name, err }, "files have changed and are refused: what was in force before stays");
      }
    }
  }
}

/** Tells apart what was replaced and what was written over, without reading it. */
function appearance(paths: readonly string[]): string {
  return paths.map((path) => lookAtFile(path).stamp).join("; ");
}
