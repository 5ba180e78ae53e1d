import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import type { ConnectionOptions } from "node:tls";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import kafkajs, {
  type Admin,
  type Broker,
  type Cluster,
  type Consumer,
  type Kafka,
  type KafkaMessage,
  type LogEntry,
  type PartitionAssigner,
  type SASLOptions,
} from "kafkajs";
import { AppendQueue } from "./append-queue.ts";
import { ChangeSignal } from "./change-signal.ts";
import { HeldPartitions, slotName, slotOf, type Want } from "./held-partitions.ts";
import { type BrokerConnection, KafkaLeaders } from "./kafka-leaders.ts";
import { KafkaProducer } from "./kafka-producer.ts";
import { decodeTopicId, encodeTopicIdRequest, metadataRequest } from "./kafka-topic-id.ts";
import { sparingEncoder } from "./kafkajs-encoder.ts";
import {
  defaultRetentionMs,
  type GroupMember,
  type Log,
  type LogRecord,
  type OutRecord,
  type PartitionEnds,
  type Position,
  type ReadLimits,
  type TopicSpec,
} from "./log.ts";
import type { Logger } from "./logging.ts";
import { partitionOf } from "./partition.ts";
import { assignSticky } from "./sticky-assignment.ts";

export type KafkaLogOptions = {
  /** Where to begin: host:port of one broker or more. */
  readonly brokers: readonly string[];
  /** Name under which the brokers know this client. */
  readonly clientId: string;
  readonly logger: Logger;
  /** TLS: `true`, or what node:tls needs beyond its defaults. Default: none. */
  readonly ssl?: boolean | ConnectionOptions;
  readonly sasl?: SASLOptions;
  /** Copies of each new topic. Default: the brokers' `default.replication.factor`. */
  readonly replicationFactor?: number;
  /** Without a sign of life for this long, a member loses its partitions to the others. Default 10 s; brokers refuse less than 6 s. */
  readonly sessionTimeoutMs?: number;
  /** Bytes that may wait for their acknowledgement; an append beyond is refused. Default 64 MiB. */
  readonly maxWaitingBytes?: number;
};

/**
 * The largest record batch, and so the largest record: topics are created with it, appends are cut to it, and the brokers'
 * `message.max.bytes` and `replica.fetch.max.bytes` should not be less.
 */
export const maxBatchBytes = 4 * 1024 * 1024;

/** Of one batch, and so of what a reader gets of a partition at least. */
const maxBatchRecords = 500;
/** How long a call outlasts brokers that are away before it rejects: longer than a broker's restart. */
const patienceMs = 10_000;
/** Longest wait inside a broker, so that a connection is soon free again after an abort. */
const longestFetchMs = 500;
const heartbeatMs = 500;
const dayMs = 24 * 60 * 60 * 1000;
/** Settled records wait this long for more to share a commit. */
const commitEveryMs = 100;
/** What leaving may take when the brokers are away. */
const leaveMs = 4000;
const requestTimeoutMs = 15_000;

/** kafkajs multiplies its retries: each step of a request retries by itself, so a few of each are enough. */
const retry = { initialRetryTime: 100, maxRetryTime: 1000, retries: 2 };
/**
 * A member asks on for its coordinator while a broker restarts: then it is still the same member, and nobody has to wait until its
 * former self is given up. Ends at the latest when `#lookAfter` does.
 */
const memberRetry = { initialRetryTime: 100, maxRetryTime: 500, retries: 100 };

const { AssignerProtocol, ConfigResourceTypes, logLevel } = kafkajs;

quietIdleQueues();
sparingEncoder();

/**
 * Opens a log on Apache Kafka.
 * @throws PipelineError LOG_UNAVAILABLE when no broker answers, BROKER_REFUSED when they refuse us, CERTIFICATE_INVALID when one side
 *   does not believe the other's certificate
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<Log> {
  const log = new KafkaLog(options);
  try {
    await log.connect();
    return log;
  } catch (error) {
    await log[Symbol.asyncDispose]();
    throw error;
  }
}

/** A log on Apache Kafka, by way of kafkajs. See `openKafkaLog`. */
class KafkaLog implements Log {
  readonly #options: KafkaLogOptions;
  readonly #logger: Logger;
  readonly #admin: Admin;
  readonly #producer: KafkaProducer;
  /** For what kafkajs has no call of its own. */
  readonly #direct: Cluster;
  readonly #stopping = new AbortController();
  /** Number of partitions by topic, for the topics met so far: it never changes. */
  readonly #partitions = new Map<string, number>();
  readonly #queues = new Map<string, AppendQueue<OutRecord>>();
  readonly #idleReaders: PositionReader[] = [];
  readonly #readers = new Set<PositionReader>();
  readonly #members = new Set<KafkaMember>();
  readonly #appends = new Set<Promise<unknown>>();
  #waitingBytes = 0;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: KafkaLogOptions) {
    this.#options = options;
    this.#logger = options.logger;
    const kafka = clientOf(options);
    this.#admin = kafka.admin();
    this.#producer = new KafkaProducer(clusterOf(clientOf(options)), requestTimeoutMs);
    this.#direct = clusterOf(kafka);
  }

  async connect(): Promise<void> {
    await this.ask("connect", async () => {
      await this.#admin.connect();
      await this.#producer.connect();
    });
  }

  async ensureTopics(topics: readonly TopicSpec[]): Promise<void> {
    const existing: TopicSpec[] = [];
    for (const topic of topics) {
      const partitions = await this.#lookUp(topic.name);
      if (partitions === undefined) await this.#create(topic);
      else existing.push(topic);
      const found = partitions ?? (await this.#appeared(topic.name));
      if (found !== topic.partitions) {
        const facts = { topic: topic.name, partitions: topic.partitions, found };
        throw new PipelineError("CONFIG_INVALID", `partitions of topic ${topic.name} must be ${found}, as it was created`, facts);
      }
    }
    if (existing.length > 0) await this.#configure(existing);
  }

  async append(records: readonly OutRecord[]): Promise<readonly Position[]> {
    this.check();
    const sizes = records.map(wireBytes);
    const bytes = sizes.reduce((sum, each) => sum + each, 0);
    const largest = Math.max(0, ...sizes);
    if (largest > maxBatchBytes) {
      throw new PipelineError("MESSAGE_TOO_LARGE", `a record takes ${largest} bytes, the log takes ${maxBatchBytes}`, { bytes: largest });
    }
    const limit = this.#options.maxWaitingBytes ?? 64 * 1024 * 1024;
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > limit) {
      const facts = { waitingBytes: this.#waitingBytes, bytes, maxWaitingBytes: limit };
      throw new PipelineError("LOG_UNAVAILABLE", `${this.#waitingBytes} bytes wait to be written, ${bytes} more are too many`, facts);
    }
    this.#waitingBytes += bytes;
    // In the order of the calls, also while the first of them still asks for a topic's partitions.
    const turn = this.#turn.then(async () => {
      for (const topic of new Set(records.map((record) => record.topic))) await this.partitionsOf(topic);
    });
    this.#turn = turn.catch(() => {});
    const work = turn
      .then(() => Promise.all(records.map((record, i) => this.#enqueue(record, sizes[i]!))))
      .catch((error: unknown) => {
        throw named(error, "append");
      })
      .finally(() => {
        this.#waitingBytes -= bytes;
        this.#appends.delete(work);
      });
    this.#appends.add(work);
    return work;
  }

  async join(group: string, topics: readonly string[]): Promise<GroupMember> {
    this.check();
    for (const topic of topics) await this.partitionsOf(topic);
    const member = new KafkaMember({
      group,
      topics,
      log: this,
      kafka: () => clientOf(this.#options),
      logger: this.#logger.child({ group }),
      sessionTimeoutMs: this.#options.sessionTimeoutMs ?? 10_000,
      stopping: this.#stopping.signal,
      onLeft: () => this.#members.delete(member),
    });
    this.#members.add(member);
    try {
      await member.entered();
      return member;
    } catch (error) {
      await member[Symbol.asyncDispose]();
      throw error;
    }
  }

  async read(from: Position, limits: ReadLimits, signal: AbortSignal): Promise<readonly LogRecord[]> {
    this.check();
    const partitions = await this.partitionsOf(from.topic);
    if (from.partition >= partitions) throw unknownTopic(from.topic, from.partition);
    const at = this.#idleReaders.findIndex((reader) => reader.continues(from));
    const reader = this.#idleReaders.splice(Math.max(0, at), 1)[0] ?? new PositionReader(this, clusterOf(clientOf(this.#options)));
    this.#readers.add(reader);
    const reading = reader.read(from, limits, AbortSignal.any([signal, this.#stopping.signal]));
    // A fetch under way cannot be taken back: whoever aborts is answered at once, and the reader is free once the broker has answered.
    reading.catch(() => {}).finally(() => this.#idleReaders.push(reader));
    const found = await untilAborted(reading, [signal, this.#stopping.signal]);
    this.check();
    return found ?? [];
  }

  async ends(topic: string): Promise<readonly PartitionEnds[]> {
    await this.partitionsOf(topic);
    const offsets = await this.ask("ends", () => this.#admin.fetchTopicOffsets(topic));
    return offsets
      .map(({ partition, low, high }) => ({ partition, earliest: Number(low), latest: Number(high) }))
      .sort((a, b) => a.partition - b.partition);
  }

  async groupLag(group: string, topic: string): Promise<number> {
    const commits = await this.commitsOf(group, topic);
    return (await this.ends(topic)).reduce((sum, { partition, latest }) => sum + Math.max(0, latest - commits.get(partition)!), 0);
  }

  async topicId(topic: string): Promise<string> {
    await this.partitionsOf(topic);
    const id = await this.ask("topic id", async () => {
      await this.#direct.connect();
      await this.#direct.addTargetTopic(topic);
      const [leader] = Object.keys(this.#direct.findLeaderForPartitions(topic, [0]));
      const broker = (await this.#direct.findBroker({ nodeId: leader! })) as Broker & BrokerConnection;
      const body = encodeTopicIdRequest(topic);
      return await broker.connectionPool.send<{ id: string | undefined }, string | undefined>({
        request: { ...metadataRequest, encode: async () => ({ buf: body, buffer: body }) },
        response: { decode: async (payload) => ({ id: decodeTopicId(payload) }), parse: async ({ id }) => id },
      });
    });
    if (id === undefined) throw unknownTopic(topic);
    return id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const appends = Promise.allSettled(this.#appends);
    this.#stopping.abort();
    const members = [...this.#members].map((member) => member[Symbol.asyncDispose]());
    await Promise.race([appends, delay(leaveMs, undefined, { ref: false })]);
    await Promise.all(members);
    const clients = [this.#producer, this.#admin, this.#direct, ...this.#readers];
    await leaving(Promise.allSettled(clients.map((client) => client.disconnect())));
  }

  /** @throws PipelineError STOPPED */
  check(): void {
    if (this.#stopping.signal.aborted) throw new PipelineError("STOPPED", "this log is closed");
  }

  /** @throws PipelineError LOG_TOPIC_UNKNOWN */
  async partitionsOf(topic: string): Promise<number> {
    const partitions = this.#partitions.get(topic) ?? (await this.#lookUp(topic));
    if (partitions === undefined) throw unknownTopic(topic);
    return partitions;
  }

  /** What the group has committed of each partition of a topic, or the earliest record kept where there is nothing. */
  async commitsOf(group: string, topic: string): Promise<ReadonlyMap<number, number>> {
    const ends = await this.ends(topic);
    const [found] = await this.ask("commits", () => this.#admin.fetchOffsets({ groupId: group, topics: [topic] }));
    return new Map(
      ends.map(({ partition, earliest }) => {
        const offset = Number(found?.partitions.find((each) => each.partition === partition)?.offset ?? -1);
        return [partition, offset < 0 ? earliest : offset];
      }),
    );
  }

  /** Does the work, again and again while brokers are away, as long as patience lasts. */
  async ask<T>(what: string, work: () => Promise<T>): Promise<T> {
    const until = performance.now() + patienceMs;
    for (let pauseMs = 50; ; pauseMs = Math.min(2 * pauseMs, 1000)) {
      this.check();
      try {
        return await work();
      } catch (error) {
        this.check();
        const failure = named(error, what);
        if (!failure.retriable || performance.now() + pauseMs > until) throw failure;
        await untilAborted(delay(pauseMs), [this.#stopping.signal]);
      }
    }
  }

  #enqueue(record: OutRecord, bytes: number): Promise<Position> {
    const { topic, key } = record;
    const partition = partitionOf(key, this.#partitions.get(topic)!);
    const name = slotName({ topic, partition });
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      const limits = { maxBytes: maxBatchBytes, maxItems: maxBatchRecords };
      const turn = () => this.#producer.turn({ topic, partition });
      queue = new AppendQueue((batch) => this.#send(topic, partition, batch), limits, turn);
      this.#queues.set(name, queue);
    }
    return queue.add({ item: record, bytes }).then((offset) => ({ topic, partition, offset }));
  }

  /** One record batch. @returns the offset of its first record, once all replicas in sync have it */
  async #send(topic: string, partition: number, records: readonly OutRecord[]): Promise<number> {
    const until = performance.now() + patienceMs;
    for (let pauseMs = 50; ; pauseMs = Math.min(2 * pauseMs, 1000)) {
      try {
        // Without the acknowledgement of a batch it is sent again: a record may come twice, which the port allows.
        return await this.#producer.append({ topic, partition, records });
      } catch (error) {
        const failure = named(error, `append to ${topic}`);
        if (!mayPass(failure) || performance.now() + pauseMs > until) throw failure;
        await delay(pauseMs);
      }
    }
  }

  async #lookUp(topic: string): Promise<number | undefined> {
    try {
      const { topics } = await this.ask("topics", () => this.#admin.fetchTopicMetadata({ topics: [topic] }));
      const partitions = topics[0]?.partitions ?? [];
      // While a topic comes to be, it has partitions without a leader.
      if (partitions.length === 0 || partitions.some(({ leader }) => leader < 0)) return undefined;
      this.#partitions.set(topic, partitions.length);
      return partitions.length;
    } catch (error) {
      if (isPipelineError(error, "LOG_TOPIC_UNKNOWN")) return undefined;
      throw error;
    }
  }

  async #appeared(topic: string): Promise<number> {
    const until = performance.now() + patienceMs;
    while (performance.now() < until) {
      const partitions = await this.#lookUp(topic);
      if (partitions !== undefined) return partitions;
      await delay(20);
    }
    throw new PipelineError("LOG_UNAVAILABLE", `topic ${topic} was created and has no leader after ${patienceMs} ms`, { topic });
  }

  async #create(topic: TopicSpec): Promise<void> {
    const { replicationFactor = -1 } = this.#options;
    const configEntries = Object.entries(topicSettings(topic, replicationFactor)).map(([name, value]) => ({ name, value }));
    const spec = { topic: topic.name, numPartitions: topic.partitions, replicationFactor, configEntries };
    // False when another process was quicker, which is as good.
    const created = await this.ask("create topic", () => this.#admin.createTopics({ topics: [spec], waitForLeaders: false }));
    if (created) this.#logger.info({ topic: topic.name, partitions: topic.partitions }, "created a topic");
  }

  /** Kafka replaces all settings of a topic at once, so what somebody else has set is sent along. */
  async #configure(topics: readonly TopicSpec[]): Promise<void> {
    const type = ConfigResourceTypes.TOPIC;
    const asked = topics.map(({ name }) => ({ type, name }));
    const { resources } = await this.ask("describe topics", () =>
      this.#admin.describeConfigs({ resources: asked, includeSynonyms: false }),
    );
    const changed = topics.flatMap((topic) => {
      const entries = resources.find(({ resourceName }) => resourceName === topic.name)?.configEntries ?? [];
      const wanted = topicSettings(topic, -1);
      if (Object.entries(wanted).every(([name, value]) => entries.some((each) => each.configName === name && each.configValue === value))) {
        return [];
      }
      const own = entries.filter(({ configSource }) => (configSource as number) === topicSource);
      const settings = { ...Object.fromEntries(own.map(({ configName, configValue }) => [configName, configValue])), ...wanted };
      return [{ type, name: topic.name, configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })) }];
    });
    if (changed.length > 0) await this.ask("configure topics", () => this.#admin.alterConfigs({ resources: changed, validateOnly: false }));
  }
}

/** `DYNAMIC_TOPIC_CONFIG` of Kafka's `ConfigEntry.ConfigSource`: set on the topic itself, not inherited. */
const topicSource = 1;

type MemberSetup = {
  readonly group: string;
  readonly topics: readonly string[];
  readonly log: KafkaLog;
  readonly kafka: () => Kafka;
  readonly logger: Logger;
  readonly sessionTimeoutMs: number;
  readonly stopping: AbortSignal;
  readonly onLeft: () => void;
};

/**
 * One member of a Kafka consumer group.
 * kafkajs' consumer does what a group needs: joining, heartbeats, assignments, commits. It never fetches: all its topics are paused,
 * because it would push records at us, several partitions at a time, and hold up its heartbeats until we took them. `poll` fetches
 * instead, from where each partition's settlement stands, and only when nothing fetched is left: so backlog stays in Kafka.
 */
class KafkaMember implements GroupMember {
  readonly #setup: MemberSetup;
  readonly #fetcher: Fetcher;
  readonly #changes = new ChangeSignal(() => 0, 60_000);
  readonly #held = new HeldPartitions();
  readonly #inFlight = new Set<string>();
  readonly #watch: NodeJS.Timeout;
  readonly #first = Promise.withResolvers<void>();
  #consumer: Consumer | undefined;
  /** Counts assignments: what began under an earlier one must not end under this one. */
  #assignment = 0;
  /** True from the moment at which it is known where the partitions of the last assignment begin. */
  #ready = false;
  /** When the coordinator last confirmed that we are a member. */
  #confirmedMs = Number.NEGATIVE_INFINITY;
  /** When membership last made a step of any kind. */
  #stirredMs = performance.now();
  #isJoining = true;
  #failure: PipelineError | undefined;
  #left = false;
  #commitTimer: NodeJS.Timeout | undefined;
  #committing: Promise<void> = Promise.resolve();

  constructor(setup: MemberSetup) {
    this.#setup = setup;
    this.#fetcher = new Fetcher(clusterOf(setup.kafka()));
    this.#first.promise.catch(() => {}); // `entered` tells
    setup.stopping.addEventListener("abort", this.#onStopping);
    this.#watch = setInterval(() => this.#lookAfter(), setup.sessionTimeoutMs / 5).unref();
    void this.#enter();
  }

  /** Resolves once the group has told which partitions are ours, if any. */
  async entered(): Promise<void> {
    const late = delay(patienceMs + 2 * this.#setup.sessionTimeoutMs, undefined, { ref: false }).then(() => {
      throw new PipelineError("LOG_UNAVAILABLE", `group ${this.#setup.group} could not be joined`, { group: this.#setup.group });
    });
    await untilAborted(Promise.race([this.#first.promise, late]), [this.#setup.stopping]);
    this.#check();
  }

  async poll(limits: ReadLimits, signal: AbortSignal): Promise<readonly LogRecord[]> {
    const untilMs = performance.now() + limits.waitMs;
    for (let looked = false; ; looked = true) {
      this.#check();
      if (signal.aborted) return [];
      const since = this.#changes.now();
      const found = this.#isMember ? this.#held.take(limits) : [];
      const leftMs = untilMs - performance.now();
      if (found.length > 0 || (looked && leftMs <= 0)) return found;
      this.#fetchMore(limits.maxBytes, Math.max(0, leftMs));
      // A look without a wait takes as long as the broker's answer.
      await this.#changes.wait(since, leftMs > 0 ? leftMs : longestFetchMs, signal);
    }
  }

  async settle(records: readonly Position[]): Promise<void> {
    this.#check();
    this.#held.settle(records);
    this.#commitSoon();
  }

  async lag(): Promise<number> {
    this.#check();
    let lag = 0;
    for (const topic of this.#setup.topics) lag += this.#held.lag(topic, await this.#setup.log.ends(topic));
    this.#check();
    return lag;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    clearInterval(this.#watch);
    clearTimeout(this.#commitTimer);
    this.#setup.stopping.removeEventListener("abort", this.#onStopping);
    this.#changes.announce();
    // What could not be committed is delivered again: leaving must not fail, nor take long when the brokers are away.
    await leaving(this.#committing.then(() => this.#commit()));
    const consumer = this.#consumer;
    this.#consumer = undefined;
    await leaving(Promise.allSettled([consumer?.disconnect(), this.#fetcher.leaders.disconnect()]));
    this.#setup.onLeft();
  }

  readonly #onStopping = () => this.#changes.announce();

  /** Becomes a member with a new consumer. One that crashed is left behind: kafkajs cannot always bring it back. */
  async #enter(): Promise<void> {
    const { group, topics, kafka, sessionTimeoutMs, logger } = this.#setup;
    const consumer = kafka().consumer({
      groupId: group,
      partitionAssigners: [this.#assigner],
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: 2 * sessionTimeoutMs,
      heartbeatInterval: heartbeatMs,
      // Paused, it fetches nothing: this is how long it sleeps between two looks at whether a heartbeat is due.
      maxWaitTimeInMs: 100,
      allowAutoTopicCreation: false,
      // A crash is answered here.
      retry: { ...memberRetry, restartOnFailure: async () => false },
    });
    this.#consumer = consumer;
    this.#isJoining = true;
    this.#stirredMs = performance.now();
    const { GROUP_JOIN, HEARTBEAT, REBALANCING, CRASH } = consumer.events;
    const ours = () => this.#consumer === consumer && !this.#left;
    consumer.on(GROUP_JOIN, ({ payload }) => {
      if (!ours()) return void consumer.disconnect().catch(() => {});
      consumer.pause(topics.map((topic) => ({ topic })));
      this.#isJoining = false;
      this.#heard();
      void this.#assigned(payload.memberAssignment);
    });
    consumer.on(HEARTBEAT, () => {
      if (ours()) this.#heard();
    });
    // Still a member of the old round: whoever gets the partition begins behind what is settled now.
    consumer.on(REBALANCING, () => {
      if (!ours()) return;
      this.#isJoining = true;
      this.#stirredMs = performance.now();
      this.#commitNow();
    });
    consumer.on(CRASH, ({ payload }) => {
      if (!ours()) return;
      const failure = named(payload.error, `membership of group ${group}`);
      if (!mayPass(failure)) return this.#fail(failure);
      logger.warn({ err: failure }, "lost the group's coordinator, joining again");
      this.#enterAgain(consumer);
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [...topics], fromBeginning: true });
      await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch: async () => {} });
    } catch (error) {
      if (!ours()) return;
      const failure = named(error, `membership of group ${group}`);
      if (mayPass(failure)) this.#enterAgain(consumer);
      else this.#fail(failure);
    }
  }

  #enterAgain(dead: Consumer): void {
    this.#consumer = undefined;
    dead.disconnect().catch(() => {});
    setTimeout(() => {
      if (!this.#left && !this.#setup.stopping.aborted && this.#consumer === undefined) void this.#enter();
    }, 500).unref();
  }

  /**
   * Joins anew when the coordinator has not confirmed us for so long that it has given us up, wherever it is now: kafkajs asks the
   * same broker again and again, and has ways to fall silent that end in no event. While it is joining it has to wait for others.
   */
  #lookAfter(): void {
    const consumer = this.#consumer;
    const silentMs = performance.now() - this.#stirredMs;
    if (consumer === undefined || silentMs < this.#setup.sessionTimeoutMs * (this.#isJoining ? 4 : 1)) return;
    this.#setup.logger.warn({ silentMs: Math.round(silentMs) }, "the group's coordinator does not answer, joining again");
    this.#enterAgain(consumer);
  }

  #heard(): void {
    this.#confirmedMs = performance.now();
    this.#stirredMs = this.#confirmedMs;
  }

  #fail(failure: PipelineError): void {
    this.#failure = failure;
    this.#first.reject(failure);
    this.#changes.announce();
  }

  /** Says which partitions this member works on, and, when it was chosen to, deals them out. */
  readonly #assigner: PartitionAssigner = ({ cluster }) => ({
    name: "SmileSticky",
    version: 1,
    protocol: ({ topics }) => ({
      name: "SmileSticky",
      metadata: AssignerProtocol.MemberMetadata.encode({
        version: 1,
        topics,
        userData: Buffer.from(JSON.stringify(this.#held.names)),
      }),
    }),
    assign: async ({ members, topics }) => {
      const slots = topics.flatMap((topic) =>
        cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => slotName({ topic, partition: partitionId })),
      );
      const claimants = members.map(({ memberId, memberMetadata }) => {
        const metadata = AssignerProtocol.MemberMetadata.decode(memberMetadata);
        return { member: memberId, held: JSON.parse(metadata?.userData.toString() || "[]") as string[] };
      });
      return [...assignSticky(slots, claimants)].map(([memberId, own]) => {
        const assignment: Record<string, number[]> = {};
        for (const { topic, partition } of own.map(slotOf)) assignment[topic] = [...(assignment[topic] ?? []), partition];
        const memberAssignment = AssignerProtocol.MemberAssignment.encode({ version: 1, assignment, userData: Buffer.alloc(0) });
        return { memberId, memberAssignment };
      });
    },
  });

  /** Takes over an assignment. What is no longer ours is gone before anything else runs: it is neither handed out nor committed. */
  async #assigned(partitionsByTopic: Readonly<Record<string, readonly number[]>>): Promise<void> {
    const { group, log, logger } = this.#setup;
    const assignment = ++this.#assignment;
    this.#ready = false;
    const slots = Object.entries(partitionsByTopic).flatMap(([topic, partitions]) => partitions.map((partition) => ({ topic, partition })));
    const lost = this.#held.retain(slots);
    try {
      const topics = Object.keys(partitionsByTopic);
      const commits = new Map(await Promise.all(topics.map(async (topic) => [topic, await log.commitsOf(group, topic)] as const)));
      if (assignment !== this.#assignment || this.#left) return;
      for (const slot of slots) this.#held.assign(slot, commits.get(slot.topic)!.get(slot.partition)!);
      this.#ready = true;
      logger.info({ partitions: slots.length, lost }, "assigned partitions");
      this.#first.resolve();
      this.#changes.announce();
      this.#commitSoon();
    } catch (error) {
      if (assignment !== this.#assignment || this.#left || this.#setup.stopping.aborted) return;
      const failure = named(error, "committed offsets");
      if (!mayPass(failure)) return this.#fail(failure);
      logger.warn({ err: failure }, "could not learn where the assigned partitions begin, joining again");
      if (this.#consumer !== undefined) this.#enterAgain(this.#consumer);
    }
  }

  /** False when the brokers may have given our partitions to others without our knowledge: after a freeze, or while they are away. */
  get #isMember(): boolean {
    return this.#ready && performance.now() - this.#confirmedMs < this.#setup.sessionTimeoutMs - heartbeatMs;
  }

  /** Fetches what comes next of every partition, one request per broker at a time, once all that was fetched before is handed out. */
  #fetchMore(maxBytes: number, waitMs: number): void {
    if (!this.#isMember) return;
    const wants = this.#held.wants();
    if (wants.length === 0) return;
    void this.#fetcher.leaders
      .byBroker(wants)
      .then((byBroker) => {
        for (const [broker, theirs] of byBroker) {
          if (this.#inFlight.has(broker)) continue;
          this.#inFlight.add(broker);
          void this.#fetchFrom(broker, theirs, maxBytes, waitMs).finally(() => {
            this.#inFlight.delete(broker);
            this.#changes.announce();
          });
        }
      })
      .catch((error: unknown) => this.#stumbled(error));
  }

  async #fetchFrom(broker: string, wants: readonly Want[], maxBytes: number, waitMs: number): Promise<void> {
    try {
      for (const { want, records } of await this.#fetcher.fetch(broker, wants, maxBytes, waitMs)) this.#held.received(want, records);
    } catch (error) {
      if (this.#left || this.#setup.stopping.aborted) return;
      const outside = outOfRange(error);
      if (outside === undefined) await this.#stumbled(error);
      else await this.#beginAnew(outside.topic, outside.partition);
    }
  }

  /**
   * Retention has removed what comes next, or the brokers have lost their newest records: goes on at the earliest record kept. Nothing
   * that is there is left out; after such a loss it is the only offset below which surely nothing new has been written.
   */
  async #beginAnew(topic: string, partition: number): Promise<void> {
    const ends = await this.#setup.log.ends(topic).catch(() => []);
    const end = ends.find((each) => each.partition === partition);
    const next = this.#held.nextOf({ topic, partition });
    if (end === undefined || next === undefined || (next >= end.earliest && next <= end.latest)) return;
    this.#setup.logger.error({ topic, next, ...end }, "the group's position is outside what the log keeps: begins at the earliest");
    this.#held.begin({ topic, partition }, end.earliest, next);
  }

  async #stumbled(error: unknown): Promise<void> {
    this.#setup.logger.debug({ err: error }, "could not fetch, trying again");
    await untilAborted(delay(100), [this.#setup.stopping]);
    await this.#fetcher.leaders.recover(error).catch(() => {});
    this.#changes.announce();
  }

  #commitSoon(): void {
    if (this.#left || this.#commitTimer !== undefined) return;
    this.#commitTimer = setTimeout(() => this.#commitNow(), commitEveryMs);
  }

  #commitNow(): void {
    clearTimeout(this.#commitTimer);
    this.#commitTimer = undefined;
    this.#committing = this.#committing.then(() => this.#commit());
  }

  /** Commits how far each partition is settled. Brokers refuse it from whoever is no member of the current round. */
  async #commit(): Promise<void> {
    const consumer = this.#consumer;
    const assignment = this.#assignment;
    const positions = this.#held.uncommitted();
    if (consumer === undefined || positions.length === 0 || !this.#isMember) return;
    try {
      await consumer.commitOffsets(positions.map((position) => ({ ...position, offset: `${position.offset}` })));
      if (assignment === this.#assignment) this.#held.committed(positions);
    } catch (error) {
      // The next assignment, or the next attempt, takes it from here.
      this.#setup.logger.debug({ err: error }, "could not commit");
      this.#commitSoon();
    }
  }

  #check(): void {
    const { group, stopping } = this.#setup;
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#left || stopping.aborted) throw new PipelineError("STOPPED", `this member has left group ${group}`, { group });
  }
}

/** Reads partitions by position, one read at a time, over connections of its own. Keeps what a fetch brought beyond what was asked for. */
class PositionReader {
  readonly #log: KafkaLog;
  readonly #fetcher: Fetcher;
  #left: LogRecord[] = [];

  constructor(log: KafkaLog, cluster: Cluster) {
    this.#log = log;
    this.#fetcher = new Fetcher(cluster);
  }

  /** Whether what is left of the last fetch begins here. */
  continues({ topic, partition, offset }: Position): boolean {
    const next = this.#left[0];
    return next !== undefined && next.topic === topic && next.partition === partition && next.offset === offset;
  }

  async read(from: Position, limits: ReadLimits, signal: AbortSignal): Promise<readonly LogRecord[]> {
    const untilMs = performance.now() + limits.waitMs;
    if (!this.continues(from)) this.#left = [];
    for (let at = from; this.#left.length === 0; ) {
      const leftMs = Math.max(0, untilMs - performance.now());
      const answer = await this.#log.ask("read", () => this.#fetch(at, limits.maxBytes, leftMs));
      if ("records" in answer) this.#left = answer.records;
      else if (answer.earliest > at.offset) at = { ...at, offset: answer.earliest };
      // Beyond the end: whatever comes there is awaited, as right at the end.
      else await untilAborted(delay(Math.min(leftMs, 100)), [signal]);
      if (signal.aborted || (this.#left.length === 0 && performance.now() >= untilMs && at === from)) return [];
    }
    let bytes = 0;
    let count = 0;
    for (const { value } of this.#left) {
      bytes += value.length;
      if (count > 0 && (bytes > limits.maxBytes || count >= limits.maxRecords)) break;
      count++;
    }
    return this.#left.splice(0, count);
  }

  async disconnect(): Promise<void> {
    await this.#fetcher.leaders.disconnect();
  }

  async #fetch(at: Position, maxBytes: number, waitMs: number): Promise<{ records: LogRecord[] } | PartitionEnds> {
    try {
      const [[broker] = []] = await this.#fetcher.leaders.byBroker([at]);
      if (broker === undefined) throw new PipelineError("LOG_UNAVAILABLE", `partition ${at.partition} of ${at.topic} has no leader now`);
      const [answer] = await this.#fetcher.fetch(broker, [at], maxBytes, waitMs);
      return { records: answer?.records ?? [] };
    } catch (error) {
      if (outOfRange(error) === undefined) {
        await this.#fetcher.leaders.recover(error).catch(() => {});
        throw error;
      }
      const ends = await this.#log.ends(at.topic);
      return ends.find(({ partition }) => partition === at.partition)!;
    }
  }
}

/** Kafka's Fetch request: the next records of some partitions of one broker, by position. kafkajs has it for its consumers only. */
class Fetcher {
  readonly leaders: KafkaLeaders;

  constructor(cluster: Cluster) {
    this.leaders = new KafkaLeaders(cluster);
  }

  /**
   * @returns per want the records from its position on, of those that the broker answered for. Where there are any, at least one
   * comes, however large it is
   */
  async fetch<T extends Position>(nodeId: string, wants: readonly T[], maxBytes: number, waitMs: number) {
    const broker = await this.leaders.broker(nodeId);
    const topics = [...new Set(wants.map(({ topic }) => topic))].map((topic) => ({
      topic,
      partitions: wants
        .filter((want) => want.topic === topic)
        .map(({ partition, offset }) => ({ partition, fetchOffset: `${offset}`, maxBytes })),
    }));
    const maxWaitTime = Math.min(Math.ceil(waitMs), longestFetchMs);
    const { responses } = (await broker.fetch({ maxWaitTime, minBytes: 1, maxBytes, isolationLevel: 0, topics })) as FetchAnswer;
    return responses.flatMap(({ topicName: topic, partitions }) =>
      partitions.flatMap(({ partition, messages }) => {
        const want = wants.find((each) => each.topic === topic && each.partition === partition);
        if (want === undefined) return [];
        // A batch comes whole, also when the position is in its middle.
        const wanted = messages.filter(({ offset, isControlRecord }) => Number(offset) >= want.offset && isControlRecord !== true);
        return [{ want, records: wanted.map((message) => recordOf(topic, partition, message)) }];
      }),
    );
  }
}

type FetchedMessage = KafkaMessage & { readonly isControlRecord?: boolean };
type FetchAnswer = {
  readonly responses: readonly {
    readonly topicName: string;
    readonly partitions: readonly { readonly partition: number; readonly messages: readonly FetchedMessage[] }[];
  }[];
};

function clientOf({ brokers, clientId, ssl, sasl, logger }: KafkaLogOptions): Kafka {
  return new kafkajs.Kafka({
    brokers: [...brokers],
    clientId,
    ...(ssl === undefined ? {} : { ssl }),
    ...(sasl === undefined ? {} : { sasl: { ...sasl } }), // it writes into it
    connectionTimeout: 3000,
    requestTimeout: requestTimeoutMs,
    retry,
    logLevel: logger.isLevelEnabled("debug") ? logLevel.INFO : logLevel.WARN,
    logCreator: () => tellTo(logger),
  });
}

/** The connections to all brokers, which kafkajs hands to whoever assigns partitions. The consumer itself is never started. */
function clusterOf(kafka: Kafka): Cluster {
  let cluster: Cluster | undefined;
  const borrowing: PartitionAssigner = (setup) => {
    cluster = setup.cluster;
    return { name: "none", version: 0, assign: async () => [], protocol: () => ({ name: "none", metadata: Buffer.alloc(0) }) };
  };
  kafka.consumer({ groupId: "none", allowAutoTopicCreation: false, partitionAssigners: [borrowing] });
  return cluster!;
}

/**
 * Takes kafkajs' log lines. It calls errors what it goes on to handle, such as a broker that restarts; what we cannot handle is thrown.
 * The same complaint comes from every connection, several times a second: it is told once in ten seconds.
 */
function tellTo(logger: Logger): (entry: LogEntry) => void {
  const toldMs = new Map<string, number>();
  return ({ level, namespace, log: { message, error, broker } }) => {
    const facts = { kafkajs: namespace, broker, error: typeof error === "string" ? error : undefined };
    const isAnswer = namespace === "Connection" && message.startsWith("Response ");
    const isNews = performance.now() - (toldMs.get(message) ?? Number.NEGATIVE_INFINITY) > 10_000;
    if (level > logLevel.WARN || isAnswer || !isNews) return logger.debug(facts, message);
    if (toldMs.size > 100) toldMs.clear();
    toldMs.set(message, performance.now());
    if (level === logLevel.ERROR) logger.warn(facts, message);
    else logger.info(facts, message);
  };
}

function topicSettings({ retentionMs = defaultRetentionMs }: TopicSpec, replicationFactor: number): Record<string, string> {
  return {
    "cleanup.policy": "delete",
    "retention.ms": `${retentionMs}`,
    // Only whole segments are deleted, and 1 GiB, the default, may be more than a topic gets in a year.
    "segment.ms": `${Math.round(Math.min(dayMs, Math.max(dayMs / 24, retentionMs / 4)))}`,
    "max.message.bytes": `${maxBatchBytes}`,
    // The log's own clock: a client whose clock is wrong must not decide what retention deletes.
    "message.timestamp.type": "LogAppendTime",
    // With three copies, two must have a record before it is acknowledged, and one may be away.
    ...(replicationFactor >= 3 ? { "min.insync.replicas": "2" } : {}),
  };
}

/** An upper bound for a record in a batch of its own: values, 20 bytes per length or count, and the batch's header of 61 bytes. */
function wireBytes({ key, value, headers = {} }: OutRecord): number {
  const texts = [key, ...Object.entries(headers).flat()];
  return value.length + texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 20, 0) + 100;
}

/** A record whose value is a view of the whole answer that brought it: whoever keeps one for long copies it, as envelope codecs do. */
function recordOf(topic: string, partition: number, { offset, key, value, headers = {}, timestamp }: KafkaMessage): LogRecord {
  return {
    topic,
    partition,
    offset: Number(offset),
    key: key?.toString() ?? "",
    value: value === null ? new Uint8Array() : new Uint8Array(value.buffer, value.byteOffset, value.length),
    headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, `${Array.isArray(text) ? text.at(-1) : text}`])),
    timestampMs: Number(timestamp),
  };
}

function unknownTopic(topic: string, partition?: number): PipelineError {
  const what = partition === undefined ? `topic ${topic}` : `partition ${partition} of topic ${topic}`;
  return new PipelineError(
    "LOG_TOPIC_UNKNOWN",
    `${what} is not known to the log`,
    partition === undefined ? { topic } : { topic, partition },
  );
}

/** What kafkajs' errors have in common, as far as anything here depends on it. */
type KafkaError = Error & { type?: string; code?: unknown; cause?: unknown; originalError?: unknown; errors?: readonly unknown[] };

const refusals = new Set(["SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "ILLEGAL_SASL_STATE"]);

/** Codes of node:tls for a certificate that is not believed, ours or theirs. */
const distrust =
  /^(CERT_|UNABLE_TO_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|ERR_TLS_CERT_|ERR_SSL_.*ALERT_(BAD|UNKNOWN|NO)_C|ERR_SSL_.*CERTIFICATE_REQUIRED)/;

/** The port's error for one of kafkajs, by the first error underneath that says anything. */
function named(error: unknown, what: string): PipelineError {
  if (error instanceof PipelineError) return error;
  const chain = causesOf(error);
  const facts = { what };
  const says = (test: (type: string) => boolean) => chain.some(({ type }) => type !== undefined && test(type));
  if (says((type) => type === "UNKNOWN_TOPIC_OR_PARTITION" || type === "INVALID_TOPIC_EXCEPTION")) {
    return new PipelineError("LOG_TOPIC_UNKNOWN", `Kafka does not know the topic: ${what}`, facts, error);
  }
  if (says((type) => type === "MESSAGE_TOO_LARGE" || type === "RECORD_LIST_TOO_LARGE")) {
    return new PipelineError("MESSAGE_TOO_LARGE", `Kafka takes smaller batches only: ${what}`, facts, error);
  }
  const refused = says((type) => type.endsWith("_AUTHORIZATION_FAILED") || refusals.has(type));
  if (refused || chain.some(({ name }) => name === "KafkaJSSASLAuthenticationError")) {
    return new PipelineError("BROKER_REFUSED", `Kafka refuses us: ${what}`, facts, error);
  }
  const untrusted = chain.find(({ code }) => typeof code === "string" && distrust.test(code));
  if (untrusted !== undefined) {
    return new PipelineError("CERTIFICATE_INVALID", `Kafka's certificate or ours is refused: ${what}: ${untrusted.message}`, facts, error);
  }
  const { message = String(error) } = chain.at(-1) ?? {};
  return new PipelineError("LOG_UNAVAILABLE", `Kafka does not answer as it should: ${what}: ${message}`, facts, error);
}

/** Of a topic that was found before, "unknown" is the word of a broker that has yet to hear of it, or that has just started. */
const mayPass = (failure: PipelineError) => failure.retriable || failure.code === "LOG_TOPIC_UNKNOWN";

function causesOf(error: unknown): KafkaError[] {
  if (!(error instanceof Error)) return [];
  const { cause, originalError, errors = [] } = error as KafkaError;
  return [error as KafkaError, ...[cause, originalError, ...errors].filter((each) => each !== error).flatMap(causesOf)];
}

function outOfRange(error: unknown): { topic: string; partition: number } | undefined {
  return (error as KafkaError).name === "KafkaJSOffsetOutOfRange"
    ? (error as KafkaError & { topic: string; partition: number })
    : undefined;
}

/** The work's result, or undefined once one of the signals is aborted. The work goes on. */
async function untilAborted<T>(work: Promise<T>, signals: readonly AbortSignal[]): Promise<T | undefined> {
  const aborted = Promise.withResolvers<undefined>();
  const onAbort = () => aborted.resolve(undefined);
  for (const signal of signals) {
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
  }
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", onAbort);
  }
}

async function leaving(work: Promise<unknown>): Promise<void> {
  await Promise.race([work.catch(() => {}), delay(leaveMs, undefined, { ref: false })]);
}

/**
 * kafkajs 2.2.4 looks after its queue of waiting requests a thousand times a second, and per connection, also while it is empty: a
 * negative delay counts as 1 ms, of which Node 24 warns (https://github.com/tulios/kafkajs/issues/1751). An empty queue needs no look.
 */
function quietIdleQueues(): void {
  type RequestQueue = { readonly pending: readonly unknown[]; scheduleCheckPendingRequests(): void };
  const { prototype } = createRequire(import.meta.url)("kafkajs/src/network/requestQueue") as { prototype: RequestQueue };
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
    if (this.pending.length > 0) schedule.call(this);
  };
}
