import { LOG_TOPICS } from "@smile/schemas/topics";
import fc from "fast-check";
import { expect, it } from "vitest";
import { openTemporaryLog } from "../src/embedded-log.ts";
import { KeyIndex } from "../src/key-index.ts";
import type { Log } from "../src/log.ts";
import { silentLogger } from "../src/logging.ts";

const topic = LOG_TOPICS.scores;
const LIMITS = { maxRecords: 64, maxBytes: 1 << 20, waitMs: 1000 };

async function openLog() {
  const log = await openTemporaryLog({ logger: silentLogger() });
  await log.ensureTopics([{ name: topic, partitions: 1 }]);
  const append = (keys: readonly string[]) => log.append(keys.map((key) => ({ topic, key, value: Buffer.from(key) })));
  return { log, append, [Symbol.asyncDispose]: () => log[Symbol.asyncDispose]() };
}

it("hands each key all of its records from any offset on, in order, whatever was there before it began", async () => {
  const keys = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(
      keys,
      fc.array(keys, { maxLength: 4 }),
      fc.nat(40),
      fc.integer({ min: 1, max: 9 }),
      async (before, later, from, most) => {
        await using at = await openLog();
        const stop = new AbortController();
        const index = new KeyIndex(at.log, { topic, partition: 0 }, LIMITS, stop.signal);
        await at.append(before);
        const all = [...before, ...later.flat()];
        const readers = ["a", "b", "c"].map(async (key) => {
          const expected = all.flatMap((each, offset) => (each === key && offset >= from ? [offset] : []));
          const found: number[] = [];
          for (let next = from; found.length < expected.length; ) {
            const records = (await index.read(key, next, most, stop.signal))!;
            found.push(...records.filter((record) => record.key === key).map(({ offset }) => offset));
            next = records.at(-1)!.offset + 1;
          }
          expect(found).toEqual(expected);
        });
        for (const keysOfAppend of later) if (keysOfAppend.length > 0) await at.append(keysOfAppend);
        await Promise.all(readers);
        stop.abort();
      },
    ),
    { seed: 6, numRuns: 40 },
  );
});

it("says that it does not know what lies too far back, and reads nothing for whoever asks", async () => {
  await using at = await openLog();
  await at.append(Array.from({ length: 20_000 }, () => "b"));
  await at.append(["a"]);
  let reads = 0;
  const watched: Pick<Log, "ends" | "read"> = {
    ends: (of) => at.log.ends(of),
    read: (from, limits, signal) => {
      if (from.offset < 20_001) reads++;
      return at.log.read(from, limits, signal);
    },
  };
  const stop = new AbortController();
  const index = new KeyIndex(watched as Log, { topic, partition: 0 }, LIMITS, stop.signal);
  expect(await index.read("a", 0, 10, stop.signal)).toBeUndefined();
  expect(reads).toBe(0);
  expect((await index.read("a", 19_000, 10, stop.signal))!.map(({ key, offset }) => [key, offset])).toEqual([["a", 20_000]]);
  stop.abort();
});

it("ends a wait when its reader is called off, and goes on for the others", async () => {
  await using at = await openLog();
  const stop = new AbortController();
  const index = new KeyIndex(at.log, { topic, partition: 0 }, LIMITS, stop.signal);
  const calledOff = new AbortController();
  const first = index.read("a", 0, 10, calledOff.signal);
  const other = index.read("b", 0, 10, stop.signal);
  calledOff.abort();
  expect(await first).toEqual([]);
  const again = index.read("a", 0, 10, stop.signal);
  await at.append(["a", "b"]);
  expect([(await again)!.length, (await other)!.length]).toEqual([1, 1]);
  stop.abort();
});
