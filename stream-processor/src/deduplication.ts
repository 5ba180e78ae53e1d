import { PipelineError } from "@smile/errors/pipeline-error";
import type { Log, LogRecord, Position } from "@smile/runtime/log";
import { partitionOf } from "@smile/runtime/partition";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { SeenFrames, type SeenSnapshot, type SenderId } from "./seen-frames.ts";

/** A year of one frame a minute is one range; these bounds are for gateways that come and go. */
const BOUNDS = { senders: 20_000, rangesPerSender: 64 };
/** A crash repeats at most what was merged since the last snapshot, and the plant tells that apart. */
const SNAPSHOT_EVERY_MS = 2000;
const READ = { maxRecords: 500, maxBytes: 8 * 1024 * 1024, waitMs: 0 } as const;

type Followed = { seen: SeenFrames; nextOffset: number; readonly open: Map<string, number>; dirty: boolean };

/**
 * Tells frames that were dealt with before from new ones, partition by partition. What it knows is kept beside the frames in the log:
 * a snapshot is appended only after the batches of the frames in it are durable, so it never claims a frame that could be lost. Who
 * takes a partition over starts from the last snapshot.
 */
export class Deduplication {
  readonly #log: Log;
  readonly #partitions = new Map<number, Followed>();
  #savedMs: number;

  /** @param nowMs monotonic */
  constructor(log: Log, nowMs: number) {
    this.#log = log;
    this.#savedMs = nowMs;
  }

  /**
   * Prepares for a record: reads the last snapshot when its partition is new here, or another member had it meanwhile.
   * @throws {PipelineError} LOG_UNAVAILABLE
   */
  async follow({ partition, offset }: Pick<Position, "partition" | "offset">, signal: AbortSignal): Promise<void> {
    let followed = this.#partitions.get(partition);
    if (followed !== undefined && offset >= followed.nextOffset) {
      const isNext = offset === followed.nextOffset;
      followed.nextOffset = offset + 1;
      if (isNext) return;
    }
    followed ??= { seen: new SeenFrames(BOUNDS), nextOffset: offset + 1, open: new Map(), dirty: false };
    // Read again from below means that this member lost the partition and got it back: what was open is delivered again.
    if (offset < followed.nextOffset - 1) followed.open.clear();
    followed.nextOffset = offset + 1;
    this.#partitions.set(partition, followed);
    const snapshot = await this.#lastSnapshot(partition, signal);
    if (snapshot !== undefined) followed.seen.restore(snapshot);
  }

  /** Whether the frame was dealt with, or waits in an open batch under another offset. */
  isRepeated({ partition, offset }: Position, frame: SenderId): boolean {
    const followed = this.#partitions.get(partition)!;
    const openAt = followed.open.get(idOf(frame));
    return followed.seen.has(frame) || (openAt !== undefined && openAt !== offset);
  }

  /** The frame waits for its batch. */
  opened({ partition, offset }: Position, frame: SenderId): void {
    this.#partitions.get(partition)!.open.set(idOf(frame), offset);
  }

  /** The frame's batch is durable. */
  dealtWith({ partition }: Position, frame: SenderId): void {
    const followed = this.#partitions.get(partition)!;
    followed.open.delete(idOf(frame));
    followed.seen.add(frame);
    followed.dirty = true;
  }

  /** Appends snapshots of what changed, when it is time. Call it after the batches are durable. */
  async save(nowMs: number): Promise<void> {
    if (nowMs - this.#savedMs < SNAPSHOT_EVERY_MS) return;
    this.#savedMs = nowMs;
    const changed = [...this.#partitions].filter(([, { dirty }]) => dirty);
    if (changed.length === 0) return;
    const records = changed.map(([partition, { seen }]) => ({
      topic: LOG_TOPICS.seenFrames,
      key: String(partition),
      value: Buffer.from(JSON.stringify(seen.snapshot())),
    }));
    for (const [, followed] of changed) followed.dirty = false;
    await this.#log.append(records);
  }

  async #lastSnapshot(framesPartition: number, signal: AbortSignal): Promise<SeenSnapshot | undefined> {
    const ends = await this.#log.ends(LOG_TOPICS.seenFrames);
    const key = String(framesPartition);
    const { partition, earliest, latest } = ends[partitionOf(key, ends.length)]!;
    let last: LogRecord | undefined;
    for (let offset = earliest; offset < latest && !signal.aborted; ) {
      const records = await this.#log.read({ topic: LOG_TOPICS.seenFrames, partition, offset }, READ, signal);
      if (records.length === 0) break;
      last = records.findLast((record) => record.key === key) ?? last;
      offset = records.at(-1)!.offset + 1;
    }
    return last && parseSnapshot(last);
  }
}

function idOf({ plant, gateway, epoch, sequence }: SenderId): string {
  return `${plant} ${gateway} ${epoch} ${sequence}`;
}

function parseSnapshot({ topic, partition, offset, value }: LogRecord): SeenSnapshot {
  try {
    return JSON.parse(Buffer.from(value).toString()) as SeenSnapshot;
  } catch (error) {
    throw new PipelineError(
      "FILE_DAMAGED",
      `the snapshot at ${topic}/${partition}/${offset} is not JSON`,
      { topic, partition, offset },
      error,
    );
  }
}
