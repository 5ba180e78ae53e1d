import { setImmediate as nextTurn } from "node:timers/promises";
import { type Delivery, deliveryCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS, scoresTopic } from "@smile/schemas/topics";
import fc from "fast-check";
import { expect, it } from "vitest";
import { Egress } from "../src/egress.ts";
import { openTemporaryLog } from "../src/embedded-log.ts";
import type { Log } from "../src/log.ts";
import { silentLogger } from "../src/logging.ts";

/** Scores that egress sends a plant beyond its cursor. */
const WINDOW = 256;
const number = (value: Uint8Array) => Number(Buffer.from(value).toString());

type Sent = { readonly topic: string; readonly offset: number; readonly score: number };

/** Egress on a real log of one partition, and everything that it sent. */
async function open() {
  await using opened = new AsyncDisposableStack();
  const log: Log = opened.use(await openTemporaryLog({ logger: silentLogger() }));
  await log.ensureTopics([{ name: LOG_TOPICS.scores, partitions: 1 }]);
  const sent: Sent[] = [];
  const failures: unknown[] = [];
  const listeners = new Set<(delivery: Delivery, topic: string) => void>();
  const egress = opened.use(
    new Egress(
      log,
      async (topic, payload) => {
        const delivery = deliveryCodec.decode(payload);
        sent.push({ topic, offset: delivery.offset, score: number(delivery.score) });
        for (const listener of listeners) listener(delivery, topic);
      },
      (error) => failures.push(error),
    ),
  );
  const owned = opened.move();
  return {
    log,
    egress,
    sent,
    failures,
    listeners,
    /** Appends the scores `from` to `to`, each a number; offsets count them from 0. */
    append: async (from: number, to: number, plantOf: (i: number) => string = () => "north") => {
      const values = Array.from({ length: to - from }, (_, i) => from + i);
      await log.append(values.map((i) => ({ topic: LOG_TOPICS.scores, key: plantOf(i), value: Buffer.from(String(i)) })));
    },
    /** Resolves once so many deliveries were sent. */
    until: async (count: number) => {
      while (sent.length < count) await nextTurn();
    },
    /** Lets egress go on as far as it will: several turns in which the log has everything to hand. */
    settle: async () => {
      for (let turn = 0; turn < 50; turn++) await nextTurn();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const offsets = (sent: readonly Sent[]) => sent.map(({ offset }) => offset);
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const cursor = (next: number | null, resume = false) => ({ next, topicId: null, partition: next === null ? null : 0, resume });

it("sends nothing to a plant that never asked, and everything from the beginning to one that has stored nothing", async () => {
  await using at = await open();
  await at.append(0, 10);
  await at.settle();
  expect(at.sent).toEqual([]);
  at.egress.cursor("north", cursor(null, true));
  await at.until(10);
  expect(at.sent).toEqual(range(0, 10).map((i) => ({ topic: scoresTopic("north"), offset: i, score: i })));
});

it("keeps no more than a window of scores on their way, and moves it on with the cursor", async () => {
  await using at = await open();
  await at.append(0, 2000);
  at.egress.cursor("north", cursor(null, true));
  await at.until(WINDOW);
  await at.settle();
  expect(offsets(at.sent)).toEqual(range(0, WINDOW));
  at.egress.cursor("north", cursor(100));
  await at.until(WINDOW + 100);
  await at.settle();
  expect(offsets(at.sent)).toEqual(range(0, WINDOW + 100));
  // An old cursor that comes late opens nothing and repeats nothing.
  at.egress.cursor("north", cursor(50));
  await at.settle();
  expect(at.sent).toHaveLength(WINDOW + 100);
});

it("goes back to the cursor when a plant resumes, and only then", async () => {
  await using at = await open();
  await at.append(0, 40);
  at.egress.cursor("north", cursor(null, true));
  await at.until(40);
  at.egress.cursor("north", cursor(25));
  await at.settle();
  expect(at.sent).toHaveLength(40);
  at.egress.cursor("north", cursor(25, true));
  await at.until(55);
  expect(offsets(at.sent.slice(40))).toEqual(range(25, 40));
  await at.append(40, 45);
  await at.until(60);
  expect(offsets(at.sent.slice(55))).toEqual(range(40, 45));
});

it("gives a plant that was away for long everything since, in order", async () => {
  await using at = await open();
  await at.append(0, 3000);
  at.listeners.add(({ offset }) => at.egress.cursor("north", cursor(offset + 1)));
  at.egress.cursor("north", cursor(17, true));
  await at.until(3000 - 17);
  expect(offsets(at.sent)).toEqual(range(17, 3000));
});

it("gives two plants of one partition their own scores only, and a silent one holds up nobody", async () => {
  await using at = await open();
  await at.append(0, 2000, (i) => (i % 3 === 0 ? "south" : "north"));
  at.listeners.add(({ offset }, topic) => {
    if (topic === scoresTopic("south")) at.egress.cursor("south", cursor(offset + 1));
  });
  at.egress.cursor("north", cursor(null, true)); // and then says no more
  at.egress.cursor("south", cursor(null, true));
  const ownOf = (plant: string) => at.sent.filter(({ topic }) => topic === scoresTopic(plant)).map(({ score }) => score);
  while (ownOf("south").length < 667 || ownOf("north").length < WINDOW) await nextTurn();
  await at.settle();
  expect(ownOf("south")).toEqual(range(0, 2000).filter((i) => i % 3 === 0));
  const north = range(0, 2000).filter((i) => i % 3 !== 0);
  expect(ownOf("north")).toEqual(north.slice(0, WINDOW));
});

it("says of each delivery where it begins: behind the one before, whatever of other plants lies between", async () => {
  await using at = await open();
  const claims: number[][] = [];
  at.listeners.add(({ from, offset }) => claims.push([from, offset]));
  await at.append(0, 10, (i) => (i % 4 === 3 ? "north" : "south"));
  at.egress.cursor("north", cursor(null, true));
  await at.until(2);
  expect(claims).toEqual([
    [0, 3],
    [4, 7],
  ]);
});

it("begins at the beginning for a cursor that was kept of a log before this one, whether this one is shorter or longer", async () => {
  for (const next of [1000, 3]) {
    await using at = await open();
    await at.append(0, 10);
    at.egress.cursor("north", { topicId: "of the log before", partition: 0, next, resume: true });
    await at.until(10);
    expect(offsets(at.sent)).toEqual(range(0, 10));
  }
});

it("repeats nothing to an idle plant that has stored everything, however often it asks", async () => {
  await using at = await open();
  await at.append(0, 10);
  at.egress.cursor("north", cursor(null, true));
  await at.until(10);
  for (let i = 0; i < 3; i++) {
    at.egress.cursor("north", cursor(10, true));
    await at.settle();
  }
  expect(at.sent).toHaveLength(10);
});

it("lets everybody else have their turn while it passes over others' records, and reads them no faster for a plant that goes back", async () => {
  await using log = await openTemporaryLog({ logger: silentLogger() });
  await log.ensureTopics([{ name: LOG_TOPICS.scores, partitions: 1 }]);
  const large = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < 16; i++) await log.append([{ topic: LOG_TOPICS.scores, key: "south", value: large }]);
  // Further behind than what is known of a partition without reading it.
  await log.append(Array.from({ length: 20_000 }, () => ({ topic: LOG_TOPICS.scores, key: "south", value: Buffer.alloc(1) })));
  await log.append([{ topic: LOG_TOPICS.scores, key: "north", value: Buffer.from("1") }]);
  let bytes = 0;
  const watched: Pick<Log, "read" | "ends" | "topicId"> = {
    ends: (topic) => log.ends(topic),
    topicId: (topic) => log.topicId(topic),
    read: async (...asked) => {
      const records = await log.read(...asked);
      bytes += records.reduce((sum, { value }) => sum + value.length, 0);
      return records;
    },
  };
  let sent = 0;
  await using egress = new Egress(
    watched as Log,
    async () => void sent++,
    (error) => expect.fail(String(error)),
  );
  const sinceMs = performance.now();
  egress.cursor("north", cursor(0, true));
  let turns = 0;
  for (; sent < 1; turns++) await nextTurn();
  expect(turns).toBeGreaterThan(16 / 4 - 1);
  // It goes back at each delivery, from the far end of the partition.
  for (let round = 1; round < 4; round++) {
    egress.cursor("north", cursor(0, true));
    while (sent <= round) await nextTurn();
  }
  const mostPerMs = 100_000;
  expect(bytes).toBeGreaterThan(4 * 16 * large.length);
  expect(bytes).toBeLessThan((performance.now() - sinceMs + 50) * mostPerMs + 4 * large.length + 100_000);
});

it("reads a partition once for all plants that are not far behind, however many they are and however often they go back", async () => {
  await using log = await openTemporaryLog({ logger: silentLogger() });
  await log.ensureTopics([{ name: LOG_TOPICS.scores, partitions: 1 }]);
  const plants = range(0, 100).map((i) => `plant-${i}`);
  const scoreOfEach = () => log.append(plants.map((key) => ({ topic: LOG_TOPICS.scores, key, value: Buffer.from("1") })));
  for (let i = 0; i < 20; i++) await scoreOfEach();
  let read = 0;
  const watched: Pick<Log, "read" | "ends" | "topicId"> = {
    ends: (topic) => log.ends(topic),
    topicId: (topic) => log.topicId(topic),
    read: async (...asked) => {
      const records = await log.read(...asked);
      read += records.length;
      return records;
    },
  };
  const sent = new Map(plants.map((plant) => [scoresTopic(plant), [] as number[]]));
  await using egress = new Egress(
    watched as Log,
    async (topic, payload) => void sent.get(topic)!.push(deliveryCodec.decode(payload).offset),
    (error) => expect.fail(String(error)),
  );
  const until = async (each: number) => {
    while ([...sent.values()].some((offsets) => offsets.length < each)) await nextTurn();
  };
  for (const plant of plants) egress.cursor(plant, cursor(1000, true));
  await until(10);
  for (let i = 0; i < 10; i++) await scoreOfEach();
  await until(20);
  // All of it once to know where what stands, and each plant's own.
  expect(read).toBeLessThanOrEqual(2000 + 1000 + 1000);
  for (const plant of plants) egress.cursor(plant, cursor(1000, true));
  await until(40);
  expect(read).toBeLessThanOrEqual(4000 + 2000);
  plants.forEach((plant, i) => {
    const own = range(10, 30).map((round) => 100 * round + i);
    expect(sent.get(scoresTopic(plant))).toEqual([...own, ...own]);
  });
});

it("ends the feeds of plants that are not served any more, leaves the others alone, and begins anew on a cursor", async () => {
  await using at = await open();
  await at.append(0, 20, (i) => (i % 2 === 0 ? "north" : "south"));
  for (const plant of ["north", "south"]) at.egress.cursor(plant, cursor(null, true));
  await at.until(20);
  at.egress.endFeeds((plant) => plant === "north");
  expect([...(await at.egress.lags()).keys()]).toEqual(["south"]);
  await at.append(20, 30, (i) => (i % 2 === 0 ? "north" : "south"));
  await at.until(25);
  await at.settle();
  expect(at.sent.slice(20).map(({ topic, score }) => [topic, score])).toEqual([21, 23, 25, 27, 29].map((i) => [scoresTopic("south"), i]));
  at.egress.cursor("north", cursor(20, true));
  await at.until(30);
  expect(offsets(at.sent.slice(25))).toEqual([20, 22, 24, 26, 28]);
  expect(at.failures).toEqual([]);
});

it("stops at once although the broker never answers", async () => {
  await using log = await openTemporaryLog({ logger: silentLogger() });
  await log.ensureTopics([{ name: LOG_TOPICS.scores, partitions: 1 }]);
  await log.append([{ topic: LOG_TOPICS.scores, key: "north", value: Buffer.from("1") }]);
  const publishing = Promise.withResolvers<void>();
  const failures: unknown[] = [];
  const hang = () => {
    publishing.resolve();
    return new Promise<void>(() => {});
  };
  const egress = new Egress(log, hang, (error) => failures.push(error));
  egress.cursor("north", cursor(null, true));
  await publishing.promise;
  await egress[Symbol.asyncDispose]();
  expect(failures).toEqual([]);
});

it("tells when the log fails, once", async () => {
  await using at = await open();
  at.egress.cursor("north", cursor(null, true));
  await at.log[Symbol.asyncDispose]();
  while (at.failures.length === 0) await nextTurn();
  expect(at.failures).toHaveLength(1);
});

it("brings every score to a plant that loses deliveries and connections at random, whatever is sent twice", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom("keep", "keep", "keep", "lose", "reconnect"), { minLength: 1, maxLength: 400 }),
      async (luck) => {
        const TOTAL = 500;
        await using at = await open();
        // A console in small: stores what comes next, asks again for what it missed.
        let next = 0;
        let turn = 0;
        const stored: number[] = [];
        at.listeners.add(({ offset, score }) => {
          const what = luck[turn++] ?? "keep";
          if (what === "lose") return;
          if (offset === next) {
            stored.push(number(score));
            next = offset + 1;
          }
          const resume = what === "reconnect" || offset > next || next === TOTAL;
          at.egress.cursor("north", cursor(next, resume));
        });
        at.egress.cursor("north", cursor(null, true));
        await at.append(0, TOTAL / 2);
        await at.append(TOTAL / 2, TOTAL);
        for (let idle = 0; next < TOTAL; idle++) {
          // The console's own timer: what was lost last is asked for again.
          if (idle % 200 === 199) at.egress.cursor("north", cursor(next, true));
          await nextTurn();
        }
        expect(stored).toEqual(range(0, TOTAL));
      },
    ),
    { seed: 7, numRuns: 25 },
  );
});
