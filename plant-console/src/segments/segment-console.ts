import { isPipelineError, type PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "@smile/runtime/logging";
import { type DeliveryLoop, startDeliveryLoop } from "../delivery-loop.ts";
import { outcomeOf } from "../outcome.ts";
import { RareWarnings } from "../rare-warnings.ts";
import type { OpenScoreLink } from "../score-link.ts";
import type { ScoreKeys } from "../score-reader.ts";
import type { Trust } from "../verification.ts";
import type { Assigned, JobStore } from "./job-store.ts";
import { type SegmentCounters, SegmentCounts } from "./segment-counts.ts";
import type { ReadSegments, SegmentReader } from "./segment-reader.ts";

export type SegmentConsole = DeliveryLoop & { counters(): SegmentCounters };

/**
 * Receives the encrypted scores of an organisation's jobs, and stores the segment of each record once, with the cursor behind it in one
 * transaction. Nothing flows back but the cursor: see `startDeliveryLoop`.
 * @param options.reread reads anew what stands behind `keys` and `trust`; without it what they do not know is refused at once
 * @param options.onStored told after each batch of scores that is on the disk
 */
export function startSegmentConsole(options: {
  readonly plant: string;
  readonly reader: SegmentReader;
  readonly jobs: JobStore;
  readonly keys: ScoreKeys;
  readonly trust: () => Trust;
  readonly reread?: () => Promise<void>;
  readonly openLink: OpenScoreLink;
  readonly logger: Logger;
  readonly onStored?: () => void;
  readonly resendMs?: number;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: () => number;
}): SegmentConsole {
  const { plant, reader, jobs, keys, trust, reread, openLink, logger, onStored, resendMs, now = Date.now } = options;
  const counts = new SegmentCounts();
  const warnings = new RareWarnings(logger);
  const untold: (() => void)[] = [];
  const loop = startDeliveryLoop<ReadSegments>({
    ...{ plant, openLink, counts, warnings, logger, reread, cursor: jobs.cursor },
    ...(resendMs !== undefined && { resendMs }),
    read: ({ score }) => outcomeOf((believed) => reader.read(score, believed), { keys, trust: trust(), nowMs: now() }),
    store: (reads, cursor) => {
      const nowMs = now();
      const assigned = jobs.commit(reads, cursor, nowMs);
      return () => {
        assigned.forEach((each, i) => {
          if (isPipelineError(each)) counts.addRefused(each.code);
          else counts.addAssigned(each, reads[i]!.revokedRecords, nowMs);
        });
        // In a later turn, so that what was decrypted holds no cursor back: see `Announcer`.
        if (untold.push(() => tell(reads, assigned)) === 1) setImmediate(tellAll);
      };
    },
  });
  logger.info({ plant, cursor: jobs.cursor }, "segment console started");
  return {
    ...loop,
    counters: () => counts.read(),
    [Symbol.asyncDispose]: async () => {
      await loop[Symbol.asyncDispose]();
      tellAll();
    },
  };

  function tellAll(): void {
    if (untold.length === 0) return;
    for (const each of untold.splice(0)) each();
    onStored?.();
  }

  function tell(reads: readonly ReadSegments[], assigned: readonly (Assigned | PipelineError)[]): void {
    assigned.forEach((each, i) => {
      const facts = { plant, jobId: reads[i]!.jobId };
      if (isPipelineError(each)) warnings.warn(each.code, { ...facts, err: each }, "score refused");
      else if (each.contradictions > 0) {
        const text = "records were answered again with another segment; the first stays, and nothing of the job is shown";
        logger.error({ ...facts, contradictions: each.contradictions }, text);
      }
    });
  }
}
