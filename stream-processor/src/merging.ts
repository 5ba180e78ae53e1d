import { setTimeout as delay } from "node:timers/promises";
import { isPipelineError } from "@smile/errors/pipeline-error";
import type { GroupMember, Log, LogRecord, Position, ReadLimits } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import { frameCodec } from "@smile/schemas/envelopes";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import { mergeToBatch } from "./batch.ts";
import { advance, type BatcherLimits, type Input, nextDeadline, type Open, type Placed } from "./batcher.ts";
import type { Catalogue } from "./catalogue.ts";
import { Deduplication } from "./deduplication.ts";

/** What merging has done since it started: frames in, batches out, frames that came again, frames that no deployment knows any more. */
export type MergingCounters = { frames: number; batches: number; repeated: number; skipped: number };

/** What is merged without anything else having its turn in between: of jobs little, so that frames of streams wait for a few at most. */
const READ: Readonly<Record<WorkKind, Omit<ReadLimits, "waitMs">>> = {
  streams: { maxRecords: 256, maxBytes: 8 * 1024 * 1024 },
  jobs: { maxRecords: 8, maxBytes: 512 * 1024 },
};
const IDLE_WAIT_MS = 1000;
/** What stopping may wait for the last snapshot. */
const LAST_SAVE_MS = 2000;

export type MergingParts = {
  readonly catalogue: Catalogue;
  readonly limits: BatcherLimits;
  readonly logger: Logger;
  readonly counters: MergingCounters;
  /** Default `streams`. */
  readonly work?: WorkKind;
};

/**
 * Frames of one kind of work out of the log, batches into it, until the signal stops it. A frame is settled once its batch is durable; what was still
 * open at the end is read again by whoever comes next, so nothing is lost and some frames may be merged twice.
 */
export async function mergeFramesOf(
  log: Log,
  member: GroupMember,
  { catalogue, limits, logger, counters, work = "streams" }: MergingParts,
  signal: AbortSignal,
): Promise<void> {
  let open: Open<Position> = new Map();
  const deduplication = new Deduplication(log, performance.now(), work);
  while (!signal.aborted) {
    const deadline = nextDeadline(open, limits);
    const waitMs = deadline === undefined ? IDLE_WAIT_MS : Math.max(0, deadline - performance.now());
    const records = await member.poll({ ...READ[work], waitMs }, signal);
    const atMs = performance.now();
    /** Records that lead to nothing: they may be settled with whatever is merged. */
    const settled: Position[] = [];
    const batches: { key: string; value: Buffer; frames: readonly Placed<Position>[] }[] = [];
    const inputs: Input<Position>[] = [];
    for (const record of records) {
      await deduplication.follow(record, signal);
      const input = toInput(record, atMs);
      if (input !== undefined) inputs.push(input);
    }
    for (const input of [...inputs, { atMs }]) {
      const step = advance(open, input, limits);
      open = step.open;
      for (const placed of step.ready) {
        const frames = placed.map(({ frame }) => frame);
        const { params } = catalogue.find(frames[0]!);
        batches.push({ key: frames[0]!.plant, value: mergeToBatch(params, frames), frames: placed });
      }
    }
    if (batches.length > 0) await log.append(batches.map(({ key, value }) => ({ topic: WORK_TOPICS[work].batches, key, value })));
    const merged = batches.flatMap(({ frames }) => frames);
    for (const { position, frame } of merged) deduplication.dealtWith(position, frame);
    await deduplication.save(atMs);
    const done = [...settled, ...merged.map(({ position }) => position)];
    if (done.length > 0) await member.settle(done);
    counters.frames += records.length;
    counters.batches += batches.length;

    function toInput({ topic, partition, offset, value }: LogRecord, now: number): Input<Position> | undefined {
      const position: Position = { topic, partition, offset };
      try {
        const viewed = frameCodec.view(value);
        const { lanes, maxMerges } = catalogue.find(viewed);
        // What waits for company must not keep all that was read with it.
        const frame = maxMerges === 1 ? viewed : frameCodec.decode(value);
        if (deduplication.isRepeated(position, frame)) {
          counters.repeated += 1;
          settled.push(position);
          return undefined;
        }
        deduplication.opened(position, frame);
        return { atMs: now, arrival: { position, frame, rule: { lanes, maxMerges } } };
      } catch (error) {
        // Ingress admitted it, so its deployment was withdrawn since: it must not stop those behind it.
        if (!isPipelineError(error)) throw error;
        logger.error({ position, code: error.code }, "skipped a frame of the log");
        counters.skipped += 1;
        settled.push(position);
        return undefined;
      }
    }
  }
  // Without it the next start reads a few frames again.
  const saved = deduplication.saveAll().catch((error: unknown) => logger.warn({ err: error }, "left no last snapshot of the frames seen"));
  await Promise.race([saved, delay(LAST_SAVE_MS, undefined, { ref: false })]);
}
