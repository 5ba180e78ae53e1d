import { randomUUID } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GroupMember, Log, LogRecord, ReadLimits } from "../src/log.ts";

/** A place where logs live. Each `connect` opens another client of the same data, as another process or a restart would. */
export type LogPlace = AsyncDisposable & { connect(): Promise<Log> };

const never = new AbortController().signal;
/** Ample in every respect: returns as soon as there is anything. */
const ample: ReadLimits = { maxRecords: 1000, maxBytes: 1 << 20, waitMs: 20_000 };
const glance: ReadLimits = { ...ample, waitMs: 0 };
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (record: LogRecord) => new TextDecoder().decode(record.value);
const codeOf = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof PipelineError ? error.code : error;
};

/** Polls until `count` records have come. */
async function take(member: GroupMember, count: number, limits: ReadLimits = ample): Promise<LogRecord[]> {
  const taken: LogRecord[] = [];
  while (taken.length < count) taken.push(...(await member.poll(limits, never)));
  return taken;
}

/**
 * What every implementation of the log owes to its callers.
 * @param name the implementation's name, for the report
 * @param makePlace a new, empty place, or one where topics and groups of unique names do not disturb each other
 */
export function describeLog(name: string, makePlace: () => Promise<LogPlace>): void {
  describe(`${name} as a log`, () => {
    let place: LogPlace;
    let log: Log;
    let topic: string;
    let group: string;

    beforeEach(async () => {
      place = await makePlace();
      log = await place.connect();
      topic = `topic-${randomUUID()}`;
      group = `group-${randomUUID()}`;
      await log.ensureTopics([{ name: topic, partitions: 3 }]);
    });
    afterEach(async () => {
      await log[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    });
    const put = (key: string, value: string) => log.append([{ topic, key, value: bytes(value) }]);

    it("hands out what was appended: key, headers, every byte, and where it stands", async () => {
      const value = Uint8Array.from({ length: 512 }, (_, i) => i);
      const before = Date.now();
      const [first, second] = await log.append([
        { topic, key: "plant-1", value, headers: { schema: "frame.v1", ü: "ß" } },
        { topic, key: "plant-1", value: new Uint8Array() },
      ]);
      await using member = await log.join(group, [topic]);
      const [a, b] = await take(member, 2);
      expect(a).toMatchObject({ ...first, key: "plant-1", headers: { schema: "frame.v1", ü: "ß" } });
      expect([...a!.value]).toEqual([...value]);
      expect(b).toMatchObject({ ...second, key: "plant-1", headers: {} });
      expect(b!.value).toHaveLength(0);
      expect(Math.abs(a!.timestampMs - before)).toBeLessThan(60_000);
    });

    it("keeps the order of each key, whatever is appended at the same time", async () => {
      const keys = Array.from({ length: 24 }, (_, i) => `plant-${i}`);
      const count = 15;
      await Promise.all(Array.from({ length: count }, (_, i) => log.append(keys.map((key) => ({ topic, key, value: bytes(`${i}`) })))));
      await using member = await log.join(group, [topic]);
      const taken = await take(member, keys.length * count, { ...ample, maxRecords: 7 });
      for (const key of keys) {
        const own = taken.filter((record) => record.key === key);
        expect(own.map(text)).toEqual(Array.from({ length: count }, (_, i) => `${i}`));
        expect(new Set(own.map(({ partition }) => partition)).size).toBe(1);
      }
      expect(new Set(taken.map(({ partition }) => partition)).size).toBe(3);
      for (const partition of [0, 1, 2]) {
        const offsets = taken.filter((record) => record.partition === partition).map(({ offset }) => offset);
        expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
      }
    });

    it("hands out no more records and bytes than asked for, but always one", async () => {
      for (let i = 0; i < 5; i++) await put("a", `${i}`.repeat(100));
      await using member = await log.join(group, [topic]);
      expect(await take(member, 1, { ...ample, maxRecords: 2 })).toHaveLength(2);
      expect(await take(member, 1, { ...ample, maxBytes: 250 })).toHaveLength(2);
      expect((await take(member, 1, { ...ample, maxBytes: 10 })).map(text)).toEqual(["4".repeat(100)]);
    });

    it("answers with nothing once the wait is over, so that a linger can tick", async () => {
      await using member = await log.join(group, [topic]);
      expect(await member.poll({ ...ample, waitMs: 30 }, never)).toEqual([]);
      await put("a", "later");
      expect((await take(member, 1)).map(text)).toEqual(["later"]);
    });

    it("wakes a waiting member when a record comes", async () => {
      await using member = await log.join(group, [topic]);
      const polling = take(member, 1);
      await put("a", "hello");
      expect((await polling).map(text)).toEqual(["hello"]);
    });

    it("wakes a member for what another client appended", async () => {
      await using other = await place.connect();
      await using member = await log.join(group, [topic]);
      const polling = take(member, 1);
      await other.append([{ topic, key: "a", value: bytes("from afar") }]);
      expect((await polling).map(text)).toEqual(["from afar"]);
    });

    it("ends a wait when its signal is aborted", async () => {
      await using member = await log.join(group, [topic]);
      const stop = new AbortController();
      const polling = member.poll({ ...ample, waitMs: 60_000 }, stop.signal);
      const reading = log.read({ topic, partition: 0, offset: 0 }, { ...ample, waitMs: 60_000 }, stop.signal);
      stop.abort();
      expect(await polling).toEqual([]);
      expect(await reading).toEqual([]);
    });

    it("delivers again, after a restart, what was not settled, and nothing that was", async () => {
      for (const value of ["a", "b", "c", "d"]) await put("key", value);
      {
        await using member = await log.join(group, [topic]);
        const taken = await take(member, 4);
        await member.settle(taken.slice(0, 2));
      }
      await log[Symbol.asyncDispose]();
      log = await place.connect();
      await using member = await log.join(group, [topic]);
      const again = await take(member, 2);
      expect(again.map(text)).toEqual(["c", "d"]);
      await member.settle(again);
      expect(await member.poll(glance, never)).toEqual([]);
    });

    it("commits only below the oldest unsettled record when they are settled out of order", async () => {
      for (const value of ["a", "b", "c", "d"]) await put("key", value);
      {
        await using member = await log.join(group, [topic]);
        const taken = await take(member, 4);
        await member.settle([taken[3]!, taken[0]!, taken[2]!]);
      }
      await using member = await log.join(group, [topic]);
      expect((await take(member, 3)).map(text)).toEqual(["b", "c", "d"]);
    });

    it("does not hand a record to the same member twice", async () => {
      await put("key", "a");
      await using member = await log.join(group, [topic]);
      await take(member, 1);
      expect(await member.poll(glance, never)).toEqual([]);
    });

    it("gives every group everything, from the earliest record on", async () => {
      await put("key", "a");
      await put("key", "b");
      await using first = await log.join(group, [topic]);
      await using second = await log.join(`${group}-second`, [topic]);
      expect((await take(first, 2)).map(text)).toEqual(["a", "b"]);
      expect((await take(second, 2)).map(text)).toEqual(["a", "b"]);
    });

    it("reads several topics in one group", async () => {
      const other = `${topic}-other`;
      await log.ensureTopics([{ name: other, partitions: 1 }]);
      await put("key", "a");
      await log.append([{ topic: other, key: "key", value: bytes("b") }]);
      await using member = await log.join(group, [topic, other]);
      expect((await take(member, 2)).map(text).toSorted()).toEqual(["a", "b"]);
    });

    it("counts as lag what is not settled, delivered or not", async () => {
      for (const value of ["a", "b", "c"]) await put("key", value);
      await using member = await log.join(group, [topic]);
      const taken = await take(member, 1, { ...ample, maxRecords: 1 });
      expect(await member.lag()).toBe(3);
      await member.settle(taken);
      expect(await member.lag()).toBe(2);
    });

    it("tells a group's lag to whoever is not in it: everything for one that never joined, and then what is not committed", async () => {
      for (const value of ["a", "b", "c"]) await put("key", value);
      expect(await log.groupLag(group, topic)).toBe(3);
      {
        await using member = await log.join(group, [topic]);
        await member.settle(await take(member, 2, { ...ample, maxRecords: 2 }));
      }
      expect(await log.groupLag(group, topic)).toBe(1);
      expect(await log.groupLag(`${group}-other`, topic)).toBe(3);
    });

    it("ignores what a member settles without holding it", async () => {
      await put("key", "a");
      await using member = await log.join(group, [topic]);
      const [taken] = await take(member, 1);
      await member.settle([{ ...taken!, topic: "another" }, { ...taken!, offset: 99 }, taken!, taken!]);
      expect(await member.lag()).toBe(0);
    });

    it("reads by position without a group, waits for what is to come, and tells the ends", async () => {
      const [{ partition } = { partition: 0 }] = await put("key", "a");
      await put("key", "b");
      await put("key", "c");
      const at = (offset: number) => ({ topic, partition, offset });
      expect((await log.read(at(1), ample, never)).map(text)).toEqual(["b", "c"]);
      expect((await log.read(at(0), { ...ample, maxRecords: 1 }, never)).map(text)).toEqual(["a"]);
      expect(await log.read(at(3), glance, never)).toEqual([]);
      const waiting = log.read(at(3), ample, never);
      await put("key", "d");
      expect((await waiting).map(text)).toEqual(["d"]);
      const ends = await log.ends(topic);
      expect(ends.map((each) => each.partition)).toEqual([0, 1, 2]);
      expect(ends[partition]).toEqual({ partition, earliest: 0, latest: 4 });
    });

    it("ensures a topic as often as one likes, but never with other partitions", async () => {
      await log.ensureTopics([{ name: topic, partitions: 3, retentionMs: 1_000_000 }]);
      expect(await codeOf(log.ensureTopics([{ name: topic, partitions: 4 }]))).toBe("CONFIG_INVALID");
      expect(await log.ends(topic)).toHaveLength(3);
    });

    it("gives a topic an id of its own for good, the same to whoever connects", async () => {
      const id = await log.topicId(topic);
      expect(id).toMatch(/^.{1,64}$/);
      await log.ensureTopics([
        { name: topic, partitions: 3 },
        { name: `${topic}-other`, partitions: 1 },
      ]);
      await using other = await place.connect();
      expect(await other.topicId(topic)).toBe(id);
      expect(await other.topicId(`${topic}-other`)).not.toBe(id);
    });

    it("refuses topics and partitions that were never ensured", async () => {
      const unknown = `${topic}-unknown`;
      const record = { topic: unknown, key: "a", value: bytes("a") };
      expect(await codeOf(log.append([record]))).toBe("LOG_TOPIC_UNKNOWN");
      expect(await codeOf(log.join(group, [unknown]))).toBe("LOG_TOPIC_UNKNOWN");
      expect(await codeOf(log.ends(unknown))).toBe("LOG_TOPIC_UNKNOWN");
      expect(await codeOf(log.topicId(unknown))).toBe("LOG_TOPIC_UNKNOWN");
      expect(await codeOf(log.read({ topic, partition: 3, offset: 0 }, glance, never))).toBe("LOG_TOPIC_UNKNOWN");
    });

    it("ends waits and refuses work once it is disposed, and may be disposed twice", async () => {
      const member = await log.join(group, [topic]);
      const waiting = codeOf(member.poll(ample, never));
      const reading = codeOf(log.read({ topic, partition: 0, offset: 0 }, ample, never));
      await log[Symbol.asyncDispose]();
      await log[Symbol.asyncDispose]();
      expect([await waiting, await reading]).toEqual(["STOPPED", "STOPPED"]);
      expect(await codeOf(put("key", "a"))).toBe("STOPPED");
      expect(await codeOf(member.poll(glance, never))).toBe("STOPPED");
    });

    it("finishes the appends under way before it is disposed", async () => {
      const appends = Array.from({ length: 20 }, (_, i) => put("key", `${i}`));
      await log[Symbol.asyncDispose]();
      expect((await Promise.all(appends)).flat()).toHaveLength(20);
    });
  });
}
