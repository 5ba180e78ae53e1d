import type { KeyObject } from "node:crypto";
import { ScoringPool, type ScoringPoolOptions } from "@smile/he/scoring-pool";
import { type AuditLog, silentAudit } from "@smile/runtime/audit-log";
import { DeadLetterBudget } from "@smile/runtime/dead-letter-budget";
import type { Service } from "@smile/runtime/lifecycle";
import type { Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { documentId } from "@smile/schemas/documents";
import { publicHalf } from "@smile/schemas/ed25519";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { RegisteredKeys } from "./registered-keys.ts";
import { type ScorerCounters, scoreBatchesOf } from "./scorer.ts";
import { type ServedDeployment, ServedHeads } from "./served-heads.ts";

export type ModelServiceOptions = {
  readonly log: Log;
  readonly logger: Logger;
  readonly deployments: readonly ServedDeployment[];
  /** The plants that it scores for, by their registers; whoever opened it disposes of it. */
  readonly plants: PlantRegistry;
  /** What scores are signed with, an Ed25519 secret key. */
  readonly signingKey: KeyObject;
  /** Default: none. */
  readonly audit?: AuditLog;
  /** Dead letters that are kept of each plant. Default 600. */
  readonly deadLettersPerHour?: number | undefined;
  /** Partitions of each topic, when it is created. */
  readonly partitions: number;
  readonly pool?: ScoringPoolOptions;
  /** Told how long scoring one batch by one head took, waiting for a worker included. */
  readonly onScored?: (seconds: number) => void;
};

export type ModelService = Service & {
  readonly counters: ScorerCounters;
  /** Dead letters that were not kept, for the budget of their plant was used up. */
  deadLettersSuppressed(): number;
  /** Batches of this member's partitions that are not settled. */
  lag(): Promise<number>;
};

/** The consumer group in which model services share the batches. */
export const SCORING_GROUP = "smile-model-service";

/**
 * Scores every batch of the log by every head that is bound to its feature set. It holds no secret of any plant.
 * @throws {PipelineError} PLAN_REFUSED, DOCUMENT_INVALID, LOG_UNAVAILABLE, LOG_GROUP_BUSY; STORE_UNAVAILABLE of the audit log
 */
export async function startModelService(options: ModelServiceOptions): Promise<ModelService> {
  const { log, logger, deployments, plants, signingKey, audit = silentAudit, partitions, deadLettersPerHour: perHour } = options;
  const heads = new ServedHeads(deployments);
  const keys = new RegisteredKeys(plants);
  const deadLetters = new DeadLetterBudget(perHour === undefined ? {} : { perHour });
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions })));
  const counters: ScorerCounters = { batches: 0, scores: 0, bytes: 0, refused: {} };
  const stop = new AbortController();

  await using opened = new AsyncDisposableStack();
  const pool = opened.use(new ScoringPool(options.pool));
  const member = opened.use(await log.join(SCORING_GROUP, [LOG_TOPICS.batches]));
  record(audit, options);
  const parts = {
    plants,
    heads,
    keys,
    signingKey,
    deadLetters,
    pool,
    logger: logger.child({ part: "scorer" }),
    counters,
    onScored: options.onScored,
  };
  const done = scoreBatchesOf(log, member, parts, stop.signal);
  done.catch(() => {}); // whoever awaits `done` sees it
  opened.defer(async () => {
    stop.abort();
    await done.catch(() => {});
  });
  logger.info({ deployments: deployments.length, plants: plants.plants.length }, "model service started");
  const owned = opened.move();
  return {
    counters,
    deadLettersSuppressed: () => deadLetters.suppressed,
    lag: () => member.lag(),
    done,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What this service will score with, before it scores anything. */
function record(audit: AuditLog, { deployments, plants, signingKey }: ModelServiceOptions): void {
  for (const { deployment, heads, modelPrivacy } of deployments) {
    audit.append("deployment-loaded", {
      deploymentId: documentId(deployment),
      featureSetId: documentId(deployment.featureSet),
      headIds: heads.map((head) => documentId(head)).join(" "),
      modelPrivacy,
    });
  }
  audit.append("service-started", { deployments: deployments.length, plants: plants.plants.length, scoreSigner: publicHalf(signingKey) });
}
