import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import kafkajs from "kafkajs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeWithKafka, type TestKafka } from "../../test/support/kafka.ts";
import { maxBatchBytes, openKafkaLog } from "../src/kafka-log.ts";
import type { GroupMember, Log, LogRecord, Position } from "../src/log.ts";
import { silentLogger } from "../src/logging.ts";
import { partitionOf } from "../src/partition.ts";

const never = new AbortController().signal;
const ample = { maxRecords: 1000, maxBytes: 1 << 20, waitMs: 20_000 };
const short = { ...ample, waitMs: 200 };
const bytes = (text: string) => new TextEncoder().encode(text);
const text = ({ value }: LogRecord) => new TextDecoder().decode(value);
const at = ({ topic, partition, offset }: Position) => `${topic} ${partition} ${offset}`;
/** The shortest that brokers allow by default (`group.min.session.timeout.ms`). */
const sessionTimeoutMs = 6000;
const takeoverMs = 15_000;

const open = (kafka: TestKafka) => openKafkaLog({ brokers: kafka.brokers, clientId: "test", logger: silentLogger(), sessionTimeoutMs });

/** What an operator, or time, does to topics. */
const adminOf = ({ brokers }: TestKafka) =>
  new kafkajs.Kafka({ clientId: "operator", brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING }).admin();

async function take(member: GroupMember, count: number, limits = ample): Promise<LogRecord[]> {
  const taken: LogRecord[] = [];
  while (taken.length < count) taken.push(...(await member.poll(limits, never)));
  return taken;
}

/** A member in a process of its own. */
class Child implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  #news = Promise.withResolvers<void>();

  constructor(kafka: TestKafka, group: string, topic: string) {
    const script = join(import.meta.dirname, "kafka-member-child.ts");
    this.#process = spawn(process.execPath, [script, kafka.brokers[0]!, group, topic], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      this.#lines.push(line);
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    });
  }

  async lines(pattern: RegExp, count: number): Promise<string[]> {
    for (;;) {
      const found = this.#lines.filter((line) => pattern.test(line));
      if (found.length >= count) return found;
      await this.#news.promise;
    }
  }

  say(line: string): void {
    this.#process.stdin!.write(`${line}\n`);
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  async ended(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await once(this.#process, "exit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.ended();
  }
}

await describeWithKafka("the log on Kafka beyond the contract", (kafka) => {
  let log: Log;
  beforeEach(async () => {
    log = await open(kafka());
  });
  afterEach(() => log[Symbol.asyncDispose]());

  const newTopic = async (partitions: number, on = log) => {
    const topic = `topic-${randomUUID()}`;
    await on.ensureTopics([{ name: topic, partitions }]);
    return { topic, group: `group-of-${topic}` };
  };

  it("puts a key into the partition that every log puts it into", async () => {
    const { topic } = await newTopic(5);
    const keys = Array.from({ length: 40 }, (_, i) => `plant-${i}`);
    const positions = await log.append(keys.map((key) => ({ topic, key, value: bytes(key) })));
    expect(positions.map(({ partition }) => partition)).toEqual(keys.map((key) => partitionOf(key, 5)));
  });

  it("takes records of 700 KB, cuts what is appended together into batches that the brokers take, and refuses a record beyond", async () => {
    const { topic, group } = await newTopic(1);
    const values = Array.from({ length: 14 }, (_, i) => new Uint8Array(700_000).fill(i));
    const positions = await log.append(values.map((value) => ({ topic, key: "plant", value })));
    expect(positions.map(({ offset }) => offset)).toEqual(values.map((_, i) => i));
    await log.append([{ topic, key: "plant", value: new Uint8Array(maxBatchBytes - 200) }]);
    const tooLarge = { topic, key: "plant", value: new Uint8Array(maxBatchBytes) };
    await expect(log.append([tooLarge])).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });

    await using member = await log.join(group, [topic]);
    const taken = await take(member, 15);
    expect(taken.slice(0, 14).every(({ value }, i) => value.length === 700_000 && value.every((byte) => byte === i))).toBe(true);
    expect(taken[14]!.value).toHaveLength(maxBatchBytes - 200);
    const [last] = await log.read({ topic, partition: 0, offset: 13 }, { ...ample, maxBytes: 1000 }, never);
    expect(last!.value[0]).toBe(13);
  });

  it("goes on at the earliest record kept where retention has removed what comes next, for groups and for readers", async () => {
    const { topic, group } = await newTopic(1);
    const append = (from: number, to: number) =>
      log.append(Array.from({ length: to - from }, (_, i) => ({ topic, key: "plant", value: bytes(`${from + i}`) })));
    await append(0, 10);
    await using member = await log.join(group, [topic]);
    await member.settle(await take(member, 10, { ...ample, maxRecords: 3 }));
    await append(10, 20);
    await member[Symbol.asyncDispose]();
    const admin = adminOf(kafka());
    await admin.connect();
    await admin.fetchTopicOffsets(topic); // kafkajs deletes only where it knows the leader by now
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "15" }] });
    await admin.disconnect();

    expect(await log.ends(topic)).toEqual([{ partition: 0, earliest: 15, latest: 20 }]);
    const read = await log.read({ topic, partition: 0, offset: 3 }, { ...ample, maxRecords: 2 }, never);
    expect(read.map(({ offset }) => offset)).toEqual([15, 16]);
    await using next = await log.join(group, [topic]);
    expect((await take(next, 5)).map(text)).toEqual(["15", "16", "17", "18", "19"]);
    expect(await log.read({ topic, partition: 0, offset: 99 }, short, never)).toEqual([]);
  });

  it("tells a topic from one of the same name that was made anew", async () => {
    const { topic } = await newTopic(1);
    const id = await log.topicId(topic);
    const admin = adminOf(kafka());
    await admin.connect();
    await admin.deleteTopics({ topics: [topic] });
    await admin.disconnect();
    await using other = await open(kafka());
    await other.ensureTopics([{ name: topic, partitions: 1 }]);
    expect(await other.topicId(topic)).not.toBe(id);
  });

  it("shares partitions among members, moves only a share to one that comes, and repeats nothing that stays", async () => {
    const { topic, group } = await newTopic(6);
    const keys = Array.from({ length: 48 }, (_, i) => `plant-${i}`);
    const round = async (name: string) => log.append(keys.map((key) => ({ topic, key, value: bytes(`${name} ${key}`) })));
    await round("first");
    await using a = await log.join(group, [topic]);
    const byA = await take(a, 48);
    // Kept back: worked on while partitions move.
    const open6 = byA.filter((record, i) => byA.findIndex(({ partition }) => partition === record.partition) === i);
    await a.settle(byA.filter((record) => !open6.includes(record)));

    await using otherLog = await open(kafka());
    await using b = await otherLog.join(group, [topic]);
    await round("second");
    const byB: LogRecord[] = [];
    const seen = () => new Set([...byA, ...byB].map(at)).size;
    while (seen() < 96) {
      byA.push(...(await a.poll(short, never)));
      byB.push(...(await b.poll(short, never)));
    }
    const partitionsOf = (records: readonly LogRecord[]) => new Set(records.map(({ partition }) => partition));
    expect(partitionsOf(byB).size).toBe(3);
    expect(new Set(byA.map(at)).size).toBe(byA.length);
    // What A had open in the partitions that moved begins anew with B; what stayed does not.
    const moved = open6.filter(({ partition }) => partitionsOf(byB).has(partition));
    expect(byB.map(at)).toEqual(expect.arrayContaining(moved.map(at)));
    expect(await a.lag()).toBeGreaterThan(0);

    // A member that lost a partition commits nothing there: were it otherwise, these would be gone for the next one.
    await a.settle(moved);
    await a[Symbol.asyncDispose]();
    await b[Symbol.asyncDispose]();
    await using c = await log.join(group, [topic]);
    const byC = (await take(c, 1)).concat(await c.poll(short, never), await c.poll(short, never));
    expect(byC.map(at)).toEqual(expect.arrayContaining(byB.map(at)));
    await c.settle(byC);
    expect(await c.lag()).toBe(0);
  });

  describe.concurrent("when a member falls silent", () => {
    it("gives its partitions and what it had not settled to the others within 15 s after SIGKILL", { timeout: 60_000 }, async () => {
      await using own = await open(kafka());
      const { topic, group } = await newTopic(4, own);
      const keys = Array.from({ length: 40 }, (_, i) => `plant-${i}`);
      await using child = new Child(kafka(), group, topic);
      await child.lines(/joined/, 1);
      await using member = await own.join(group, [topic]);
      await own.append(keys.map((key) => ({ topic, key, value: bytes(key) })));
      const taken: LogRecord[] = [];
      const childs = await child.lines(/got/, 1);
      const killedAt = performance.now();
      child.signal("SIGKILL");
      while (new Set(taken.map(text)).size < 40) {
        const records = await member.poll(short, never);
        taken.push(...records);
        await member.settle(records);
        expect(performance.now() - killedAt).toBeLessThan(takeoverMs);
      }
      expect(taken.map(({ partition, offset }) => `got ${partition} ${offset}`)).toEqual(expect.arrayContaining(childs));
      expect(taken).toHaveLength(40);
    });

    it("lets one that was frozen for longer neither commit nor go on where others are", { timeout: 60_000 }, async () => {
      await using own = await open(kafka());
      const { topic, group } = await newTopic(1, own);
      await own.append(Array.from({ length: 10 }, (_, i) => ({ topic, key: "plant", value: bytes(`${i}`) })));
      await using child = new Child(kafka(), group, topic);
      await child.lines(/got/, 10);
      child.signal("SIGSTOP");
      await using member = await own.join(group, [topic]);
      const taken = await take(member, 10);
      await member.settle(taken.slice(0, 4));
      child.say("settle");
      child.signal("SIGCONT");
      child.say("leave");
      await child.ended();
      await member[Symbol.asyncDispose]();
      await using next = await own.join(group, [topic]);
      expect((await take(next, 6)).map(text)).toEqual(["4", "5", "6", "7", "8", "9"]);
    });
  });

  it("keeps every acknowledged record when the broker is killed, and goes on by itself once it is back", { timeout: 90_000 }, async () => {
    const { topic, group } = await newTopic(3);
    const acknowledged = new Map<string, string>();
    const taken = new Map<string, string>();
    const stop = new AbortController();
    let appended = false;
    const appending = (async () => {
      for (let i = 0; !stop.signal.aborted; i++) {
        const records = Array.from({ length: 5 }, (_, j) => ({ topic, key: `plant-${j}`, value: bytes(`${i} ${j}`) }));
        try {
          const positions = await log.append(records);
          positions.forEach((position, j) => {
            acknowledged.set(at(position), `${i} ${j}`);
          });
        } catch (error) {
          // On a busy machine a broker may be away for longer than an append waits for it.
          expect(error).toMatchObject({ code: "LOG_UNAVAILABLE" });
        }
      }
    })();
    await using member = await log.join(group, [topic]);
    const polling = (async () => {
      // Not `stop`: the last append is still under way when it is given.
      while (!appended || [...acknowledged.keys()].some((position) => !taken.has(position))) {
        const records = await member.poll(short, never);
        for (const record of records) taken.set(at(record), text(record));
        await member.settle(records);
      }
    })();
    const grown = async (by: number) => {
      const before = acknowledged.size;
      while (acknowledged.size < before + by) await log.read({ topic, partition: 0, offset: 1 << 30 }, { ...ample, waitMs: 20 }, never);
    };
    await grown(100);
    await kafka().kill();
    await kafka().start();
    await grown(100);
    stop.abort();
    await appending;
    appended = true;
    await polling;
    const differing = [...acknowledged].filter(([position, value]) => taken.get(position) !== value);
    expect(differing.map(([position, value]) => ({ position, acknowledged: value, taken: taken.get(position) }))).toEqual([]);
    // It is a member again, or still: what it settles is committed.
    const admin = adminOf(kafka());
    await admin.connect();
    const latest = (await log.ends(topic)).map((end) => end.latest);
    const committed = async () => {
      const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
      // -1 where nothing was ever committed.
      return latest.map((_, i) => Math.max(0, Number(offsets!.partitions.find(({ partition }) => partition === i)!.offset)));
    };
    await expect.poll(committed, { timeout: 20_000 }).toEqual(latest);
    await admin.disconnect();
  });
});
