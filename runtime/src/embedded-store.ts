import { randomUUID } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import {
  defaultRetentionMs,
  type LogRecord,
  type OutRecord,
  type PartitionEnds,
  type Position,
  type ReadLimits,
  type TopicSpec,
} from "./log.ts";
import { partitionOf } from "./partition.ts";
import { SqliteFile } from "./sqlite.ts";

/** A slot is one partition of one topic; its number is stored with each record instead of the topic's name. */
export type Slot = { readonly slot: number; readonly topic: string; readonly partition: number };
/** Who holds a group: `holder` is unique per member, the rest tells whether its process still lives. */
export type Lease = {
  readonly holder: string;
  readonly host: string;
  readonly pid: number;
  readonly thread: number;
  readonly expiresMs: number;
};
export type Commit = { readonly slot: number; readonly offset: number };

const tables = `
  CREATE TABLE topics (
    name TEXT PRIMARY KEY, id TEXT NOT NULL, partitions INTEGER NOT NULL, retention_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE slots (
    slot INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, partition)) STRICT;
  CREATE TABLE records (
    slot INTEGER NOT NULL, offset INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, key TEXT NOT NULL, headers TEXT NOT NULL,
    value BLOB NOT NULL, PRIMARY KEY (slot, offset)) STRICT, WITHOUT ROWID;
  CREATE TABLE commits (
    group_name TEXT NOT NULL, slot INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (group_name, slot)) STRICT, WITHOUT ROWID;
  CREATE TABLE leases (
    group_name TEXT PRIMARY KEY, holder TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, thread INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL) STRICT;
`;

type RecordRow = { offset: number; timestamp_ms: number; key: string; headers: string; value: Uint8Array };

/** The tables of the embedded log and every statement on them. Calls throw PipelineError LOG_UNAVAILABLE or FILE_DAMAGED. */
export class EmbeddedStore implements Disposable {
  readonly #db: SqliteFile;
  readonly #slots = new Map<string, readonly Slot[]>();

  /** @param path file, made when missing; its folder must exist */
  constructor(path: string) {
    // Checkpoints as often as SQLite does by default, each 4 MB: at 16 MB each holds up the event loop for two to three times as long.
    this.#db = new SqliteFile({ path, role: "log file", unavailable: "LOG_UNAVAILABLE", tables, version: 1, busyMs: 5000 });
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  /** Runs `work` in one durable transaction: all of it or nothing. */
  transaction<T>(work: () => T): T {
    return this.#db.transaction(work);
  }

  /** A number that changes when another connection commits. */
  othersVersion(): number {
    return this.#db.first<{ data_version: number }>("PRAGMA data_version")!.data_version;
  }

  ensureTopic(topic: TopicSpec): void {
    const retention = topic.retentionMs ?? defaultRetentionMs;
    this.#db.run(
      "INSERT INTO topics VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET retention_ms = ?4",
      topic.name,
      randomUUID(),
      topic.partitions,
      retention,
    );
    const { partitions } = this.#db.first<{ partitions: number }>("SELECT partitions FROM topics WHERE name = ?", topic.name)!;
    if (partitions !== topic.partitions) {
      const facts = { topic: topic.name, partitions, wanted: topic.partitions };
      throw new PipelineError("CONFIG_INVALID", `topic ${topic.name} has ${partitions} partitions, not ${topic.partitions}`, facts);
    }
    for (let partition = 0; partition < partitions; partition++) {
      this.#db.run("INSERT OR IGNORE INTO slots (topic, partition) VALUES (?, ?)", topic.name, partition);
    }
  }

  /** @throws PipelineError LOG_TOPIC_UNKNOWN */
  topicId(topic: string): string {
    const found = this.#db.first<{ id: string }>("SELECT id FROM topics WHERE name = ?", topic);
    if (found === undefined) throw unknownTopic(topic);
    return found.id;
  }

  /** The slots of a topic, by partition. @throws PipelineError LOG_TOPIC_UNKNOWN */
  slotsOf(topic: string): readonly Slot[] {
    let slots = this.#slots.get(topic);
    if (slots === undefined) {
      slots = this.#db.all<Slot>("SELECT slot, topic, partition FROM slots WHERE topic = ? ORDER BY partition", topic);
      if (slots.length === 0) throw unknownTopic(topic);
      this.#slots.set(topic, slots);
    }
    return slots;
  }

  slotOf(topic: string, partition: number): Slot {
    const slot = this.slotsOf(topic)[partition];
    if (slot === undefined) {
      throw new PipelineError("LOG_TOPIC_UNKNOWN", `topic ${topic} has no partition ${partition}`, { topic, partition });
    }
    return slot;
  }

  /** To be called within a transaction. */
  insert(record: OutRecord, timestampMs: number): Position {
    const slots = this.slotsOf(record.topic);
    const { slot, partition } = slots[partitionOf(record.key, slots.length)]!;
    const { offset } = this.#db.first<{ offset: number }>(
      "UPDATE slots SET next_offset = next_offset + 1 WHERE slot = ? RETURNING next_offset - 1 AS offset",
      slot,
    )!;
    const headers = JSON.stringify(record.headers ?? {});
    this.#db.run("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", slot, offset, timestampMs, record.key, headers, record.value);
    return { topic: record.topic, partition, offset };
  }

  /** The offset that each slot's next record will have. One page of the file, where looking into every slot reads some of each. */
  nextOffsets(): ReadonlyMap<number, number> {
    const rows = this.#db.all<{ slot: number; next_offset: number }>("SELECT slot, next_offset FROM slots");
    return new Map(rows.map(({ slot, next_offset }) => [slot, next_offset]));
  }

  /** Records of one slot from an offset on; see `ReadLimits` for the bounds. */
  fetch({ slot, topic, partition }: Slot, from: number, limits: Pick<ReadLimits, "maxRecords" | "maxBytes">): LogRecord[] {
    const sql = "SELECT offset, timestamp_ms, key, headers, value FROM records WHERE slot = ? AND offset >= ? ORDER BY offset LIMIT ?";
    const found: LogRecord[] = [];
    let bytes = 0;
    for (const row of this.#db.each<RecordRow>(sql, slot, from, limits.maxRecords)) {
      bytes += row.value.length;
      if (found.length > 0 && bytes > limits.maxBytes) break;
      const headers = JSON.parse(row.headers) as Record<string, string>;
      found.push({ topic, partition, offset: row.offset, key: row.key, value: row.value, headers, timestampMs: row.timestamp_ms });
      if (bytes >= limits.maxBytes) break;
    }
    return found;
  }

  ends({ slot, partition }: Slot): PartitionEnds {
    const sql = `SELECT next_offset AS latest, coalesce((SELECT min(offset) FROM records WHERE slot = ?1), next_offset) AS earliest
                 FROM slots WHERE slot = ?1`;
    const { earliest, latest } = this.#db.first<{ earliest: number; latest: number }>(sql, slot)!;
    return { partition, earliest, latest };
  }

  /** Records of a slot from the group's commit on; without one, all. */
  groupLag(group: string, { slot }: Slot): number {
    const sql = `SELECT next_offset - coalesce((SELECT offset FROM commits WHERE group_name = ?2 AND slot = ?1),
                   (SELECT min(offset) FROM records WHERE slot = ?1), next_offset) AS lag
                 FROM slots WHERE slot = ?1`;
    return this.#db.first<{ lag: number }>(sql, slot, group)!.lag;
  }

  lease(group: string): Lease | undefined {
    return this.#db.first<Lease>("SELECT holder, host, pid, thread, expires_ms AS expiresMs FROM leases WHERE group_name = ?", group);
  }

  takeLease(group: string, lease: Lease): void {
    const { holder, host, pid, thread, expiresMs } = lease;
    this.#db.run("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)", group, holder, host, pid, thread, expiresMs);
  }

  /** @returns false when somebody else holds the group by now */
  renewLease(group: string, holder: string, expiresMs: number): boolean {
    return this.#db.run("UPDATE leases SET expires_ms = ? WHERE group_name = ? AND holder = ?", expiresMs, group, holder).changes > 0;
  }

  dropLease(group: string, holder: string): void {
    this.#db.run("DELETE FROM leases WHERE group_name = ? AND holder = ?", group, holder);
  }

  /** The group's commit in a slot; a group that is new there begins at the earliest record kept, and retention spares it from then on. */
  openCommit(group: string, slot: Slot): number {
    this.#db.run("INSERT OR IGNORE INTO commits VALUES (?, ?, ?)", group, slot.slot, this.ends(slot).earliest);
    const sql = "SELECT offset FROM commits WHERE group_name = ? AND slot = ?";
    return this.#db.first<{ offset: number }>(sql, group, slot.slot)!.offset;
  }

  /** Commits only while `holder` holds the group. @returns false when it does not */
  commit(group: string, holder: string, commits: readonly Commit[]): boolean {
    if (this.lease(group)?.holder !== holder) return false;
    for (const { slot, offset } of commits) {
      this.#db.run("UPDATE commits SET offset = ? WHERE group_name = ? AND slot = ?", offset, group, slot);
    }
    return true;
  }

  /**
   * Deletes records that are older than their topic's retention and below every group's commit, oldest first, at most `most` per slot.
   * @returns true when more can be deleted
   */
  trim(nowMs: number, most: number): boolean {
    const slots = this.#db.all<{ slot: number; retention_ms: number; next_offset: number }>(
      "SELECT slot, retention_ms, next_offset FROM slots JOIN topics ON topics.name = slots.topic",
    );
    let more = false;
    for (const { slot, retention_ms, next_offset } of slots) {
      const { floor } = this.#db.first<{ floor: number | null }>("SELECT min(offset) AS floor FROM commits WHERE slot = ?", slot)!;
      const old = this.#db.first<{ last: number | null; count: number }>(
        `SELECT max(offset) AS last, count(*) AS count FROM (
           SELECT offset, timestamp_ms FROM records WHERE slot = ? AND offset < ? ORDER BY offset LIMIT ?)
         WHERE timestamp_ms < ?`,
        slot,
        floor ?? next_offset,
        most,
        nowMs - retention_ms,
      )!;
      if (old.last === null) continue;
      // A clock that was set back leaves younger timestamps between old ones; only an unbroken run of old ones goes.
      const { young } = this.#db.first<{ young: number | null }>(
        "SELECT min(offset) AS young FROM records WHERE slot = ? AND offset <= ? AND timestamp_ms >= ?",
        slot,
        old.last,
        nowMs - retention_ms,
      )!;
      this.#db.run("DELETE FROM records WHERE slot = ? AND offset < ?", slot, young ?? old.last + 1);
      more ||= young === null && old.count === most;
    }
    return more;
  }
}

function unknownTopic(topic: string): PipelineError {
  return new PipelineError("LOG_TOPIC_UNKNOWN", `topic ${topic} does not exist`, { topic });
}
