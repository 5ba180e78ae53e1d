import type { KeyObject } from "node:crypto";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { decodeLanes } from "@smile/he/lanes";
import type { ScoringPool } from "@smile/he/scoring-pool";
import type { DeadLetterBudget } from "@smile/runtime/dead-letter-budget";
import type { GroupMember, Log, LogRecord, OutRecord, ReadLimits } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { encodeDeadLetter } from "@smile/schemas/dead-letter";
import { type Batch, batchCodec, scoreCodec } from "@smile/schemas/envelopes";
import { negotiate } from "@smile/schemas/service-document";
import { signScore } from "@smile/schemas/signing";
import { LOG_TOPICS, WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import { checkBatch } from "./check-batch.ts";
import type { RegisteredKeys } from "./registered-keys.ts";
import type { ServedHeads } from "./served-heads.ts";

/** What the scorer has done since it started. `refused` counts batches by error code. */
export type ScorerCounters = { batches: number; scores: number; bytes: number; readonly refused: Record<string, number> };

export type ScorerParts = {
  readonly work: WorkKind;
  readonly heads: ServedHeads;
  readonly plants: PlantRegistry;
  readonly keys: RegisteredKeys;
  /** An Ed25519 secret key: what the service document's score signers tell plants to expect. */
  readonly signingKey: KeyObject;
  readonly deadLetters: DeadLetterBudget;
  readonly pool: ScoringPool;
  readonly logger: Logger;
  readonly counters: ScorerCounters;
  readonly onScored?: ((seconds: number) => void) | undefined;
};

/**
 * Scored side by side and appended together. The bytes of 32 batches of the largest ciphertexts, 60 KiB
 * each: a part takes some fifteen times as much memory when it is decoded, and whoever writes hostile batches makes them of parts.
 * Of jobs little: what is appended together holds up whatever else the log is asked for.
 */
const READ: Readonly<Record<WorkKind, ReadLimits>> = {
  streams: { maxRecords: 32, maxBytes: 2 * 1024 * 1024, waitMs: 1000 },
  jobs: { maxRecords: 8, maxBytes: 512 * 1024, waitMs: 1000 },
};
/** No frame has more, so no part of a batch comes from more bytes than these. */
const LARGEST_FRAME_BYTES = 64 * 1024;
/** What a batch of one frame has beyond that frame. */
const BATCH_OVERHEAD_BYTES = 1024;

/**
 * Batches of one kind of work out of the log, scores into it, until the signal stops it. Batches are scored side by side and their scores appended in
 * the order of the batches, so that a machine's scores keep their order; meanwhile the next ones are read and scored, but no more than
 * one reading of them. A batch is settled once its scores are durable; one that cannot be scored goes to the dead-letter topic and holds
 * nobody up.
 */
export async function scoreBatchesOf(log: Log, member: GroupMember, parts: ScorerParts, signal: AbortSignal): Promise<void> {
  let written = Promise.resolve();
  while (!signal.aborted) {
    const records = await member.poll(READ[parts.work], signal);
    const outputs = Promise.all(records.map((record) => outputOf(record, parts)));
    outputs.catch(() => {}); // write() sees it, unless the writing before has failed
    await written;
    if (records.length === 0) continue;
    written = write(log, member, records, outputs);
    written.catch(() => {}); // seen once the next ones were read
  }
  await written;
}

async function write(log: Log, member: GroupMember, records: readonly LogRecord[], scored: Promise<readonly OutRecord[][]>): Promise<void> {
  const outputs = (await scored).flat();
  if (outputs.length > 0) await log.append(outputs);
  await member.settle(records);
}

async function outputOf(record: LogRecord, parts: ScorerParts): Promise<OutRecord[]> {
  const { counters } = parts;
  try {
    checkLength(record.value, parts.heads.maxMerges);
    const scores = await scoresOf(batchCodec.decode(record.value), parts);
    counters.batches += 1;
    counters.scores += scores.length;
    counters.bytes += scores.reduce((sum, { value }) => sum + value.length, 0);
    return scores;
  } catch (error) {
    // A retriable error is about this service, not about the batch: it ends the service, and the batch is read again.
    if (!isPipelineError(error) || error.retriable) throw error;
    counters.refused[error.code] = (counters.refused[error.code] ?? 0) + 1;
    return deadLetter(record, error, parts);
  }
}

/** Within the plant's budget, so that what is refused fills neither the log's disk nor that of the log lines. */
function deadLetter({ key, value, partition, offset }: LogRecord, error: PipelineError, parts: ScorerParts): OutRecord[] {
  const nowMs = Date.now();
  if (!parts.deadLetters.allows(parts.plants.find(key)?.plant ?? "", nowMs)) return [];
  parts.logger.error({ partition, offset, code: error.code, facts: error.facts }, "refused a batch");
  const letter = encodeDeadLetter(error, { plant: key, gateway: "" }, value, nowMs);
  return [{ topic: LOG_TOPICS.deadLetters, key, value: letter }];
}

/** Before it is decoded. @throws {PipelineError} FRAME_WRONG_LENGTH for what cannot be made of as many frames as may be merged */
function checkLength({ length }: Uint8Array, maxMerges: number): void {
  const largest = maxMerges * LARGEST_FRAME_BYTES + BATCH_OVERHEAD_BYTES;
  if (length > largest) throw new PipelineError("FRAME_WRONG_LENGTH", `the batch has ${length} bytes`, { length, largest });
}

/** One signed score envelope per head that is bound to the batch's feature set. */
async function scoresOf(batch: Batch, { work, plants, heads, keys, signingKey, pool, onScored }: ScorerParts): Promise<OutRecord[]> {
  const { plant, scheme, keyMode, paramsId, keyId, featureSetId, parts, ciphertext } = batch;
  const registered = plants.find(plant);
  if (registered === undefined) throw new PipelineError("PLANT_UNKNOWN", `the plant ${plant} is not registered`, { plant });
  const version = negotiate("score", scoreCodec.versions, registered.register.reads.score);
  const served = heads.find(batch);
  const key = keys.find(batch);
  checkBatch(batch, served.params);
  const lanes = parts.flatMap((part) => decodeLanes(part.lanes, served.lanes)).sort((a, b) => a - b);
  return Promise.all(
    served.heads.map(async (head) => {
      const beganMs = performance.now();
      const replies = await pool.score({ head, key, ciphertext, lanes });
      onScored?.((performance.now() - beganMs) / 1000);
      const score = { plant, scheme, keyMode, paramsId, keyId, featureSetId, headId: head.headId, parts, replies };
      return { topic: WORK_TOPICS[work].scores, key: plant, value: scoreCodec.encode(signScore(score, signingKey), version) };
    }),
  );
}
