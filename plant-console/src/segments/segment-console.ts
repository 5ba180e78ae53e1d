import { isPipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "@smile/runtime/logging";
import type { Cursor } from "@smile/schemas/cursor";
import { deliveryCodec } from "@smile/schemas/envelopes";
import { behind, standingOf } from "../cursor.ts";
import { CursorSender } from "../cursor-sender.ts";
import type { OpenScoreLink } from "../score-link.ts";
import type { Trust } from "../verification.ts";
import type { JobStore } from "./job-store.ts";
import type { SegmentReader } from "./segment-reader.ts";

/** Counts since the start: deliveries refused, by code. */
export type SegmentCounters = { readonly refused: Readonly<Record<string, number>> };

export type SegmentConsole = AsyncDisposable & { counters(): SegmentCounters };

/**
 * Receives the encrypted scores of an organisation's jobs, and stores the segment of each record once. Nothing flows back but the cursor.
 * The cursor is not kept: after a start everything that the service still has comes again, and the store tells it apart.
 * @param options.onStored told after each score that is on the disk
 */
export function startSegmentConsole(options: {
  readonly reader: SegmentReader;
  readonly jobs: JobStore;
  readonly trust: () => Trust;
  readonly openLink: OpenScoreLink;
  readonly logger: Logger;
  readonly onStored?: () => void;
}): SegmentConsole {
  const { reader, jobs, trust, logger } = options;
  const refused: Record<string, number> = {};
  let cursor: Cursor = { topicId: null, partition: null, next: null };
  const sender = new CursorSender((message) => link.sendCursor(message));
  const askToResume = () => sender.offer({ ...cursor, resume: true });

  const link = options.openLink({
    onConnected: askToResume,
    onDelivery: async (payload) => {
      let stored = false;
      try {
        const delivery = deliveryCodec.decode(payload);
        const standing = standingOf(delivery, cursor);
        if (standing === "ahead") askToResume();
        if (standing !== "next") return;
        stored = storeOrRefuse(delivery.score);
        cursor = behind(delivery);
        sender.offer({ ...cursor, resume: false });
      } catch (error) {
        if (!isPipelineError(error, "FRAME_MALFORMED")) throw error;
        logger.warn({ err: error, length: payload.length }, "not a delivery");
      }
      if (stored) options.onStored?.();
    },
  });
  return { counters: () => ({ refused: { ...refused } }), [Symbol.asyncDispose]: () => link[Symbol.asyncDispose]() };

  function storeOrRefuse(score: Uint8Array): boolean {
    try {
      const { contradictions } = jobs.store(reader.read(score, trust()));
      if (contradictions > 0) logger.error({ contradictions }, "records were answered again with another segment; the first stays");
      return true;
    } catch (error) {
      if (!isPipelineError(error) || error.retriable) throw error;
      refused[error.code] = (refused[error.code] ?? 0) + 1;
      logger.warn({ err: error }, "score refused");
      return false;
    }
  }
}
