import type { KeyObject } from "node:crypto";
import { ScoringPool, type ScoringPoolOptions } from "@smile/he/scoring-pool";
import { type AuditLog, silentAudit } from "@smile/runtime/audit-log";
import { DeadLetterBudget } from "@smile/runtime/dead-letter-budget";
import type { Service } from "@smile/runtime/lifecycle";
import type { GroupMember, Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { documentId } from "@smile/schemas/documents";
import { publicHalf } from "@smile/schemas/ed25519";
import { workOfDeployment } from "@smile/schemas/record-documents";
import { LOG_TOPICS, WORK_GROUPS, WORK_KINDS, WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import { RegisteredKeys } from "./registered-keys.ts";
import { type ScorerCounters, type ScorerParts, scoreBatchesOf } from "./scorer.ts";
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
  /** Told how long scoring one batch of streams by one head took, waiting for a worker included. */
  readonly onScored?: (seconds: number) => void;
};

export type ModelService = Service & {
  /** Of streams; what is refused counts for both kinds of work. */
  readonly counters: ScorerCounters;
  readonly jobCounters: ScorerCounters;
  /** Dead letters that were not kept, for the budget of their plant was used up. */
  deadLettersSuppressed(): number;
  /** Batches of this member's partitions that are not settled; 0 where no deployment is of this kind of work. */
  lag(work: WorkKind): Promise<number>;
};

/**
 * Scores every batch of the log by every head that is bound to its feature set, streams and jobs side by side, each with workers of its
 * own where any is deployed: those of jobs take what streams leave of the processor. It holds no secret of any plant.
 * @throws {PipelineError} PLAN_REFUSED, DOCUMENT_INVALID, LOG_UNAVAILABLE, LOG_GROUP_BUSY; STORE_UNAVAILABLE of the audit log
 */
export async function startModelService(options: ModelServiceOptions): Promise<ModelService> {
  const { log, logger, deployments, plants, signingKey, audit = silentAudit, partitions, deadLettersPerHour: perHour } = options;
  const byWork = WORK_KINDS.map((work) => {
    const own = deployments.filter(({ deployment }) => workOfDeployment(deployment) === work);
    return { work, own, heads: new ServedHeads(own) };
  });
  const deployed = byWork.filter(({ own }) => own.length > 0);
  const keys = new RegisteredKeys(plants);
  const deadLetters = new DeadLetterBudget(perHour === undefined ? {} : { perHour });
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions })));
  const refused: Record<string, number> = {};
  const counters: Readonly<Record<WorkKind, ScorerCounters>> = {
    streams: { batches: 0, scores: 0, bytes: 0, refused },
    jobs: { batches: 0, scores: 0, bytes: 0, refused },
  };
  const stop = new AbortController();

  await using opened = new AsyncDisposableStack();
  const members = new Map<WorkKind, GroupMember>();
  const pools = new Map<WorkKind, ScoringPool>();
  for (const { work } of deployed) {
    pools.set(work, opened.use(new ScoringPool({ ...options.pool, background: work === "jobs" })));
    members.set(work, opened.use(await log.join(WORK_GROUPS[work].scoring, [WORK_TOPICS[work].batches])));
  }
  record(audit, options);
  const scoring = deployed.map(({ work, heads }) => {
    const parts: ScorerParts = {
      ...{ work, plants, heads, keys, signingKey, deadLetters },
      pool: pools.get(work)!,
      logger: logger.child({ part: work === "jobs" ? "scorer-jobs" : "scorer" }),
      counters: counters[work],
      onScored: work === "jobs" ? undefined : options.onScored,
    };
    return scoreBatchesOf(log, members.get(work)!, parts, stop.signal);
  });
  const done = Promise.all(scoring).then(() => {});
  done.catch(() => {}); // whoever awaits `done` sees it
  opened.defer(async () => {
    stop.abort();
    await Promise.allSettled(scoring);
  });
  logger.info({ deployments: deployments.length, plants: plants.plants.length }, "model service started");
  const owned = opened.move();
  return {
    counters: counters.streams,
    jobCounters: counters.jobs,
    deadLettersSuppressed: () => deadLetters.suppressed,
    lag: async (work) => (await members.get(work)?.lag()) ?? 0,
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
