import { isPipelineError } from "@smile/errors/pipeline-error";
import { decodeLanes } from "@smile/he/lanes";
import type { ScoringPool } from "@smile/he/scoring-pool";
import type { GroupMember, Log, LogRecord, OutRecord, ReadLimits } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import { encodeDeadLetter } from "@smile/schemas/dead-letter";
import { type Batch, batchCodec, scoreCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import type { RegisteredKeys } from "./registered-keys.ts";
import type { ServedHeads } from "./served-heads.ts";

/** What the scorer has done since it started. `refused` counts batches by error code. */
export type ScorerCounters = { batches: number; scores: number; bytes: number; readonly refused: Record<string, number> };

export type ScorerParts = {
  readonly heads: ServedHeads;
  readonly keys: RegisteredKeys;
  readonly pool: ScoringPool;
  readonly logger: Logger;
  readonly counters: ScorerCounters;
  readonly onScored?: ((seconds: number) => void) | undefined;
};

/** Scored side by side and appended together; the next ones are read after that. */
const READ: ReadLimits = { maxRecords: 32, maxBytes: 8 * 1024 * 1024, waitMs: 1000 };

/**
 * Batches out of the log, scores into it, until the signal stops it. Batches are scored side by side and their scores appended in
 * the order of the batches, so that a machine's scores keep their order. A batch is settled once its scores are durable; one that
 * cannot be scored goes to the dead-letter topic and holds nobody up.
 */
export async function scoreBatchesOf(log: Log, member: GroupMember, parts: ScorerParts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const records = await member.poll(READ, signal);
    if (records.length === 0) continue;
    const outputs = await Promise.all(records.map((record) => outputOf(record, parts)));
    await log.append(outputs.flat());
    await member.settle(records);
  }
}

async function outputOf(record: LogRecord, parts: ScorerParts): Promise<OutRecord[]> {
  const { counters, logger } = parts;
  try {
    const scores = await scoresOf(batchCodec.decode(record.value), parts);
    counters.batches += 1;
    counters.scores += scores.length;
    counters.bytes += scores.reduce((sum, { value }) => sum + value.length, 0);
    return scores;
  } catch (error) {
    // A retriable error is about this service, not about the batch: it ends the service, and the batch is read again.
    if (!isPipelineError(error) || error.retriable) throw error;
    counters.refused[error.code] = (counters.refused[error.code] ?? 0) + 1;
    logger.error({ partition: record.partition, offset: record.offset, code: error.code, facts: error.facts }, "refused a batch");
    const letter = encodeDeadLetter(error, { plant: record.key, gateway: "" }, record.value, Date.now());
    return [{ topic: LOG_TOPICS.deadLetters, key: record.key, value: letter }];
  }
}

/** One score envelope per head that is bound to the batch's feature set. */
async function scoresOf(batch: Batch, { heads, keys, pool, onScored }: ScorerParts): Promise<OutRecord[]> {
  const { plant, scheme, keyMode, paramsId, keyId, featureSetId, parts, ciphertext } = batch;
  const served = heads.find(batch);
  const key = keys.find(batch);
  const lanes = parts.flatMap((part) => decodeLanes(part.lanes, served.lanes)).sort((a, b) => a - b);
  return Promise.all(
    served.heads.map(async (head) => {
      const beganMs = performance.now();
      const replies = await pool.score({ head, key, ciphertext, lanes });
      onScored?.((performance.now() - beganMs) / 1000);
      const value = scoreCodec.encode({
        plant,
        scheme,
        keyMode,
        paramsId,
        keyId,
        featureSetId,
        headId: head.headId,
        parts,
        replies,
        signature: new Uint8Array(0),
      });
      return { topic: LOG_TOPICS.scores, key: plant, value };
    }),
  );
}
