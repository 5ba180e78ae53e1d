/** A record on its way into the log. Records of one key stay in the order in which they were appended. */
export type OutRecord = {
  readonly topic: string;
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
};

/** Where a record stands. Offsets of a partition only grow; they are not promised to be without gaps. */
export type Position = { readonly topic: string; readonly partition: number; readonly offset: number };

/** A record as the log hands it out. `timestampMs` is when the log took it, wall clock, and orders nothing. */
export type LogRecord = Position & {
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly timestampMs: number;
};

/** `retentionMs`: how long a record is kept at least; default `defaultRetentionMs`. */
export type TopicSpec = { readonly name: string; readonly partitions: number; readonly retentionMs?: number };

/** Seven days, as Kafka's own default (`log.retention.hours` = 168). */
export const defaultRetentionMs = 7 * 24 * 60 * 60 * 1000;

/**
 * At most this many records, and values of at most this many bytes together, though a first record that is larger still comes, alone.
 * `waitMs`: how long to wait for the first one.
 */
export type ReadLimits = { readonly maxRecords: number; readonly maxBytes: number; readonly waitMs: number };

/** What a partition holds: offsets in [earliest, latest). */
export type PartitionEnds = { readonly partition: number; readonly earliest: number; readonly latest: number };

/**
 * The durable log between the services: topics of partitions, read by groups or by position. `openEmbeddedLog` keeps it in a file.
 * All calls reject with PipelineError: LOG_TOPIC_UNKNOWN for a topic or partition that was never ensured, LOG_UNAVAILABLE while disk
 * or broker fails, STOPPED after dispose.
 */
export interface Log extends AsyncDisposable {
  /**
   * Creates topics that are missing and applies the retention of those that exist.
   * @throws PipelineError CONFIG_INVALID when a topic exists with another number of partitions: keys would move, and with them order
   */
  ensureTopics(topics: readonly TopicSpec[]): Promise<void>;

  /**
   * Resolves when all records are durable, with their positions in the same order. Values must not change until then.
   * A rejection says nothing about single records: append again, and let the reader recognise repeats by the message's own id.
   */
  append(records: readonly OutRecord[]): Promise<readonly Position[]>;

  /**
   * Joins a consumer group. A new group begins at the earliest record kept.
   * @throws PipelineError LOG_GROUP_BUSY from a log that allows one live member per group only
   */
  join(group: string, topics: readonly string[]): Promise<GroupMember>;

  /**
   * Reads one partition by position, without a group. Where retention has removed `from`, reading goes on at the earliest record kept:
   * the reader sees the gap in the offset. Resolves with nothing after `waitMs`, or once the signal is aborted.
   */
  read(from: Position, limits: ReadLimits, signal: AbortSignal): Promise<readonly LogRecord[]>;

  /**
   * What tells a topic from any other, also from one of the same name in a log that was made anew: offsets mean something only with it.
   * 1 to 64 characters.
   */
  topicId(topic: string): Promise<string>;

  /** What each partition of a topic holds, by partition number. */
  ends(topic: string): Promise<readonly PartitionEnds[]>;

  /**
   * Records of a topic that a group has not committed, whoever its members are; all that are kept for a group that never joined. What was
   * settled counts until it is committed.
   */
  groupLag(group: string, topic: string): Promise<number>;
}

/** One member of a consumer group. Pulled, so that a slow consumer leaves its backlog in the log instead of in memory. */
export interface GroupMember extends AsyncDisposable {
  /**
   * The next records, in offset order within each partition. Resolves with nothing after `waitMs`, so that a caller's linger can tick,
   * and once the signal is aborted. One call at a time.
   * @throws PipelineError LOG_GROUP_BUSY when another member took this one's place; whatever it had not settled is delivered there again
   */
  poll(limits: ReadLimits, signal: AbortSignal): Promise<readonly LogRecord[]>;

  /**
   * Says that everything these records led to is durable. Per partition, only what lies below the oldest unsettled record is committed,
   * soon but not before this resolves, and at the latest by dispose: after a crash the records between are delivered again.
   * Positions that this member does not hold are ignored.
   */
  settle(records: readonly Position[]): Promise<void>;

  /** Records of this member's partitions that are not settled: delivered or not. */
  lag(): Promise<number>;
}
