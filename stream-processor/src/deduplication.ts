import type { Log, Position } from "@smile/runtime/log";
import type { WorkKind } from "@smile/schemas/topics";
import { SeenFrames, type SenderId } from "./seen-frames.ts";
import { restoreSeen, snapshotRecord } from "./seen-log.ts";

/**
 * Of one partition. A year of one frame a minute is one range; the bytes are enough for some four thousand gateways and an eighth of what
 * the log takes as one record.
 */
const BOUNDS = { ranges: 64, epochs: 8, bytes: 512 * 1024 };
/** So many frames make a snapshot due, so that whoever takes over has few to read; a hostile gateway cannot fill the disk with snapshots. */
const SNAPSHOT_EVERY_FRAMES = 2000;
const SNAPSHOT_EVERY_MS = { soonest: 2000, latest: 30_000 };
/** Also without a frame: below the log's retention, so that what a partition has seen does not grow too old to be kept. */
const REFRESH_EVERY_MS = 24 * 60 * 60 * 1000;

type Followed = {
  readonly seen: SeenFrames;
  nextOffset: number;
  /** Frames that wait for their batch: offsets by id. */
  readonly open: Map<string, number>;
  /** Dealt with since the last snapshot. */
  news: number;
  savedMs: number;
};

/**
 * Tells frames that were dealt with before from new ones, partition by partition. What it knows is kept beside the frames in the log:
 * a snapshot is appended only after the batches of the frames in it are durable, so it never claims a frame that could be lost. Who
 * takes a partition over starts from the last snapshot and the frames that were settled since.
 */
export class Deduplication {
  readonly #log: Log;
  readonly #work: WorkKind;
  readonly #partitions = new Map<number, Followed>();
  #nowMs: number;

  /** @param nowMs monotonic */
  constructor(log: Log, nowMs: number, work: WorkKind = "streams") {
    this.#log = log;
    this.#work = work;
    this.#nowMs = nowMs;
  }

  /**
   * Prepares for a record: reads what the log knows when its partition is new here, or another member had it meanwhile. Everything below
   * the first record that a member gets is settled.
   * @throws {PipelineError} LOG_UNAVAILABLE
   */
  async follow({ partition, offset }: Pick<Position, "partition" | "offset">, signal: AbortSignal): Promise<void> {
    let followed = this.#partitions.get(partition);
    if (followed !== undefined && offset >= followed.nextOffset) {
      const isNext = offset === followed.nextOffset;
      followed.nextOffset = offset + 1;
      if (isNext) return;
    }
    followed ??= { seen: new SeenFrames(BOUNDS), nextOffset: offset + 1, open: new Map(), news: 0, savedMs: this.#nowMs };
    // Read again from below means that this member lost the partition and got it back: what was open is delivered again.
    if (offset < followed.nextOffset - 1) followed.open.clear();
    followed.nextOffset = offset + 1;
    this.#partitions.set(partition, followed);
    const { seen, open } = followed;
    await restoreSeen(this.#log, this.#work, { partition, offset }, seen, signal, (frame, at) => open.get(idOf(frame)) !== at);
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
    followed.news += 1;
  }

  /** Appends snapshots where it is time. Call it after the batches are durable. */
  async save(nowMs: number): Promise<void> {
    this.#nowMs = nowMs;
    await this.#save(({ news, savedMs }) => {
      const sinceMs = nowMs - savedMs;
      if (news === 0) return sinceMs >= REFRESH_EVERY_MS;
      return sinceMs >= SNAPSHOT_EVERY_MS.latest || (news >= SNAPSHOT_EVERY_FRAMES && sinceMs >= SNAPSHOT_EVERY_MS.soonest);
    });
  }

  /** Appends what is new before the end. */
  async saveAll(): Promise<void> {
    await this.#save(({ news }) => news > 0);
  }

  async #save(isDue: (followed: Followed) => boolean): Promise<void> {
    const due = [...this.#partitions].filter(([, followed]) => isDue(followed));
    if (due.length === 0) return;
    const records = due.map(([partition, { seen, open, nextOffset }]) =>
      snapshotRecord(this.#work, partition, { upTo: open.values().reduce((a, b) => Math.min(a, b), nextOffset), seen: seen.snapshot() }),
    );
    for (const [, followed] of due) {
      followed.news = 0;
      followed.savedMs = this.#nowMs;
    }
    await this.#log.append(records);
  }
}

function idOf({ plant, gateway, epoch, sequence }: SenderId): string {
  return `${plant} ${gateway} ${epoch} ${sequence}`;
}
