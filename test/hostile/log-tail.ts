import { setTimeout as delay } from "node:timers/promises";
import type { Log, LogRecord } from "@smile/runtime/log";

const READ = { maxRecords: 200, maxBytes: 8 * 1024 * 1024, waitMs: 0 } as const;
const LOOK_MS = 100;

/** Hands over every record of a topic, in the order of each partition, from its beginning until it is disposed of. */
export class LogTail implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(log: Log, topic: string, onRecord: (record: LogRecord) => void) {
    this.#running = this.#run(log, topic, onRecord);
    this.#running.catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(log: Log, topic: string, onRecord: (record: LogRecord) => void): Promise<void> {
    const { signal } = this.#stop;
    const next = new Map((await log.ends(topic)).map(({ partition }) => [partition, 0]));
    while (!signal.aborted) {
      let found = 0;
      for (const [partition, offset] of next) {
        const records = await log.read({ topic, partition, offset }, READ, signal);
        found += records.length;
        for (const record of records) onRecord(record);
        if (records.length > 0) next.set(partition, records.at(-1)!.offset + 1);
      }
      if (found === 0) await delay(LOOK_MS, undefined, { signal }).catch(() => {});
    }
  }
}

/** Every record of a topic. */
export async function readAll(log: Log, topic: string): Promise<LogRecord[]> {
  const all: LogRecord[] = [];
  const never = new AbortController().signal;
  for (const { partition, earliest, latest } of await log.ends(topic)) {
    for (let offset = earliest; offset < latest; ) {
      const records = await log.read({ topic, partition, offset }, READ, never);
      if (records.length === 0) break;
      all.push(...records);
      offset = records.at(-1)!.offset + 1;
    }
  }
  return all;
}
