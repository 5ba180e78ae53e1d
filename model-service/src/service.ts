import { ScoringPool, type ScoringPoolOptions } from "@smile/he/scoring-pool";
import type { Service } from "@smile/runtime/lifecycle";
import type { Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import type { PublicKey } from "@smile/schemas/documents";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { RegisteredKeys } from "./registered-keys.ts";
import { type ScorerCounters, scoreBatchesOf } from "./scorer.ts";
import { type ServedDeployment, ServedHeads } from "./served-heads.ts";

export type ModelServiceOptions = {
  readonly log: Log;
  readonly logger: Logger;
  readonly deployments: readonly ServedDeployment[];
  readonly keys: readonly PublicKey[];
  /** Partitions of each topic, when it is created. */
  readonly partitions: number;
  readonly pool?: ScoringPoolOptions;
  /** Told how long scoring one batch by one head took, waiting for a worker included. */
  readonly onScored?: (seconds: number) => void;
};

export type ModelService = Service & {
  readonly counters: ScorerCounters;
  /** Batches of this member's partitions that are not settled. */
  lag(): Promise<number>;
};

/** The consumer group in which model services share the batches. */
export const SCORING_GROUP = "smile-model-service";

/**
 * Scores every batch of the log by every head that is bound to its feature set. It holds no secret of any plant.
 * @throws {PipelineError} PLAN_REFUSED, DOCUMENT_INVALID, KEY_MISMATCH, LOG_UNAVAILABLE, LOG_GROUP_BUSY
 */
export async function startModelService(options: ModelServiceOptions): Promise<ModelService> {
  const { log, logger, deployments, partitions } = options;
  const heads = new ServedHeads(deployments);
  const keys = new RegisteredKeys(options.keys);
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions })));
  const counters: ScorerCounters = { batches: 0, scores: 0, bytes: 0, refused: {} };
  const stop = new AbortController();

  await using opened = new AsyncDisposableStack();
  const pool = opened.use(new ScoringPool(options.pool));
  const member = opened.use(await log.join(SCORING_GROUP, [LOG_TOPICS.batches]));
  const parts = { heads, keys, pool, logger: logger.child({ part: "scorer" }), counters, onScored: options.onScored };
  const done = scoreBatchesOf(log, member, parts, stop.signal);
  done.catch(() => {}); // whoever awaits `done` sees it
  opened.defer(async () => {
    stop.abort();
    await done.catch(() => {});
  });
  logger.info({ deployments: deployments.length, keys: options.keys.length }, "model service started");
  const owned = opened.move();
  return { counters, lag: () => member.lag(), done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
