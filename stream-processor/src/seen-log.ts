import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { Log, LogRecord, OutRecord, Position } from "@smile/runtime/log";
import { partitionOf } from "@smile/runtime/partition";
import { frameCodec } from "@smile/schemas/envelopes";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import type { SeenFrames, SeenSnapshot, SenderId } from "./seen-frames.ts";

/**
 * What a partition of a kind of work's frames topic has seen, in the log: snapshots, each holding every frame below its `upTo`, and behind
 * the newest one the frames themselves.
 */
export type Snapshot = { readonly upTo: number; readonly seen: SeenSnapshot };

const READ = { maxRecords: 500, maxBytes: 8 * 1024 * 1024, waitMs: 1000 } as const;
/** Frames behind a snapshot that are read at most: several times what comes between two snapshots. */
const LONGEST_TAIL = 20_000;
/** The newest snapshot is looked for in so many records at first. */
const FIRST_LOOK = 16;

export function snapshotRecord(work: WorkKind, framesPartition: number, snapshot: Snapshot): OutRecord {
  return { topic: WORK_TOPICS[work].seenFrames, key: String(framesPartition), value: Buffer.from(JSON.stringify(snapshot)) };
}

/**
 * Adds what the log knows of a partition's frames below an offset: the newest snapshot, and the frames since.
 * @param isDurable asked about each frame since: one that is still open here may not be claimed
 * @throws {PipelineError} LOG_UNAVAILABLE, FILE_DAMAGED
 */
export async function restoreSeen(
  log: Log,
  work: WorkKind,
  { partition, offset }: Pick<Position, "partition" | "offset">,
  seen: SeenFrames,
  signal: AbortSignal,
  isDurable: (frame: SenderId, offset: number) => boolean = () => true,
): Promise<void> {
  const snapshot = await newestSnapshot(log, WORK_TOPICS[work].seenFrames, partition, signal);
  if (snapshot !== undefined) seen.restore(snapshot.seen);
  const topic = WORK_TOPICS[work].frames;
  const { earliest } = (await log.ends(topic))[partition]!;
  const from = Math.max(snapshot?.upTo ?? 0, offset - LONGEST_TAIL, earliest);
  for await (const record of read(log, { topic, partition, offset: from }, offset, signal)) {
    const frame = frameOf(record);
    if (frame !== undefined && isDurable(frame, record.offset)) seen.add(frame);
  }
}

/** Looks from the end backwards, each time four times as far. */
async function newestSnapshot(log: Log, topic: string, framesPartition: number, signal: AbortSignal): Promise<Snapshot | undefined> {
  const ends = await log.ends(topic);
  const key = String(framesPartition);
  const { partition, earliest, latest } = ends[partitionOf(key, ends.length)]!;
  for (let to = latest, look = FIRST_LOOK; to > earliest; look *= 4) {
    const from = Math.max(earliest, to - look);
    let newest: LogRecord | undefined;
    for await (const record of read(log, { topic, partition, offset: from }, to, signal)) {
      if (record.key === key) newest = record;
    }
    if (newest !== undefined) return parseSnapshot(newest);
    to = from;
  }
  return undefined;
}

/** Records of a partition in [from, to), which are all there; or less when the signal is aborted. */
async function* read(log: Log, from: Position, to: number, signal: AbortSignal): AsyncGenerator<LogRecord> {
  for (let { offset } = from; offset < to && !signal.aborted; ) {
    const records = await log.read({ ...from, offset }, READ, signal);
    if (records.length === 0) return;
    offset = records.at(-1)!.offset + 1;
    yield* records.filter((record) => record.offset < to);
  }
}

function frameOf({ value }: LogRecord): SenderId | undefined {
  try {
    return frameCodec.decode(value);
  } catch (error) {
    if (isPipelineError(error)) return undefined; // merging passes over it, too
    throw error;
  }
}

function parseSnapshot({ topic, partition, offset, value }: LogRecord): Snapshot {
  try {
    const parsed = JSON.parse(Buffer.from(value).toString()) as Snapshot | SeenSnapshot;
    // Snapshots of version 0.1 did not say how far they reach.
    return "upTo" in parsed ? parsed : { upTo: 0, seen: parsed };
  } catch (error) {
    throw new PipelineError(
      "FILE_DAMAGED",
      `the snapshot at ${topic}/${partition}/${offset} is not JSON`,
      { topic, partition, offset },
      error,
    );
  }
}
