import type { Log, LogRecord } from "@smile/runtime/log";

/**
 * Reads a topic from its beginning until `enough` of its records have come.
 * @param enough asked after each record; the test's own time limit ends a wait for what never comes
 */
export async function collect(log: Log, topic: string, enough: (records: readonly LogRecord[]) => boolean): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  const from = new Map((await log.ends(topic)).map(({ partition, earliest }) => [partition, earliest]));
  const never = new AbortController().signal;
  while (!enough(records)) {
    for (const [partition, offset] of from) {
      const read = await log.read({ topic, partition, offset }, { maxRecords: 100, maxBytes: 1 << 24, waitMs: 20 }, never);
      records.push(...read);
      if (read.length > 0) from.set(partition, read.at(-1)!.offset + 1);
    }
  }
  return records;
}
