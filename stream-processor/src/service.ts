import { isPipelineError } from "@smile/errors/pipeline-error";
import { Egress, type EgressCounters } from "@smile/runtime/egress";
import type { Service } from "@smile/runtime/lifecycle";
import type { GroupMember, Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { type AnyDeployment, workOfDeployment } from "@smile/schemas/record-documents";
import { LOG_TOPICS, WORK_GROUPS, WORK_KINDS, WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import type { BatcherLimits } from "./batcher.ts";
import { Catalogue } from "./catalogue.ts";
import { type Delivery, openDelivery } from "./delivery.ts";
import type { Endpoint, EndpointState } from "./endpoint.ts";
import { Ingress, type IngressCounters, type IngressLane } from "./ingress.ts";
import { openIntake } from "./intake.ts";
import { JobGate } from "./job-gate.ts";
import { type MergingCounters, mergeFramesOf } from "./merging.ts";
import { defaultQuota, PlantQuota, type Quota } from "./quota.ts";
import { Refusals } from "./refusals.ts";
import { ReplayGuard } from "./replay-guard.ts";

export type StreamProcessorOptions = {
  readonly log: Log;
  readonly logger: Logger;
  readonly deployments: readonly AnyDeployment[];
  /** Whose frames are taken and who gets scores. Changes count at once. The caller disposes of it. */
  readonly plants: PlantRegistry;
  /** Where gateways publish frames. */
  readonly frames: Endpoint;
  /** Where plants fetch scores: a broker of its own, so that a frozen subscriber cannot stall ingest. */
  readonly scores: Endpoint;
  readonly limits: BatcherLimits;
  /** Of each plant, and of its jobs again; default `defaultQuota`. */
  readonly quota?: Quota;
  /** Frames and batches of jobs that wait in the log to be scored at most; default `defaultJobBacklog`. */
  readonly jobBacklog?: number;
  /** Partitions of each topic, when it is created. */
  readonly partitions: number;
};

export type StreamProcessor = Service & {
  readonly framesUrl: string;
  readonly scoresUrl: string;
  readonly endpoints: { readonly frames: EndpointState; readonly scores: EndpointState };
  readonly counters: {
    readonly ingress: IngressCounters;
    readonly merging: MergingCounters;
    readonly egress: EgressCounters;
    readonly jobs: { readonly merging: MergingCounters; readonly egress: EgressCounters };
  };
  /** Frames of jobs that wait for their turn into the log. */
  jobsWaiting(): number;
  /** Frames of this member's partitions that are not settled; 0 where no deployment is of this kind of work. */
  lag(work: WorkKind): Promise<number>;
  /** Records of each plant's partition behind its cursor, other plants' included: no fewer than the plant has still to fetch. */
  plantLags(work: WorkKind): Promise<ReadonlyMap<string, number>>;
};

/**
 * A second of two cores' scoring, so that a small job waits no longer than that behind others, and enough for some 1500 frames per second
 * between two looks and commits.
 */
export const defaultJobBacklog = 256;

/**
 * Ingress, merging and egress around one log, for each kind of work that is deployed. Dispose stops intake first; frames that were still
 * waiting for company stay in the log.
 * @throws {PipelineError} BROKER_DOWN, LOG_UNAVAILABLE, LOG_GROUP_BUSY
 */
export async function startStreamProcessor(options: StreamProcessorOptions): Promise<StreamProcessor> {
  const { log, logger, deployments, plants, limits, partitions } = options;
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions })));
  const deployed = WORK_KINDS.filter((work) => deployments.some((deployment) => workOfDeployment(deployment) === work));
  const catalogues = forEachWork((work) => new Catalogue(deployments.filter((deployment) => workOfDeployment(deployment) === work)));
  const ended = Promise.withResolvers<void>();
  ended.promise.catch(() => {}); // whoever awaits `done` sees it
  const stop = new AbortController();
  const counters = forEachWork((): MergingCounters => ({ frames: 0, batches: 0, repeated: 0, skipped: 0 }));

  // Disposed from the last to the first: intake, then merging, then egress.
  await using opened = new AsyncDisposableStack();
  const egress = forEachWork((work) => new Egress(log, (topic, payload) => delivery.publish(topic, payload), ended.reject, work));
  const onFailure = (error: unknown) => {
    if (!isPipelineError(error, "STOPPED")) ended.reject(error);
  };
  const delivery: Delivery = opened.use(
    await openDelivery({
      endpoint: options.scores,
      work: deployed,
      plants,
      onCursor: (work, plant, cursor) => egress[work].cursor(plant, cursor),
      logger: logger.child({ part: "egress" }),
      onFailure,
    }),
  );
  for (const work of WORK_KINDS) {
    opened.use(egress[work]);
    plants.onChange(() => egress[work].endFeeds((plant) => plants.find(plant) === undefined));
  }
  const members = new Map<WorkKind, GroupMember>();
  for (const work of deployed) members.set(work, opened.use(await log.join(WORK_GROUPS[work].merging, [WORK_TOPICS[work].frames])));
  const merging = [...members].map(([work, member]) => {
    const part = logger.child({ part: work === "jobs" ? "merging-jobs" : "merging" });
    return mergeFramesOf(log, member, { catalogue: catalogues[work], limits, logger: part, counters: counters[work], work }, stop.signal);
  });
  Promise.all(merging).then(() => ended.resolve(), ended.reject);
  opened.defer(async () => {
    stop.abort();
    await Promise.allSettled(merging);
  });
  const quota = options.quota ?? defaultQuota;
  const lanes = forEachWork(
    (work): IngressLane => ({ catalogue: catalogues[work], guard: new ReplayGuard(), quota: new PlantQuota(quota) }),
  );
  for (const work of deployed) await lanes[work].guard.restore(log, work, stop.signal);
  const gate = new JobGate(() => jobsToScore(log), { limit: options.jobBacklog ?? defaultJobBacklog });
  const refusals = new Refusals(log, plants, logger.child({ part: "ingress" }));
  const ingress = new Ingress(log, plants, { lanes, gate, refusals });
  const intake = opened.use(
    await openIntake({
      endpoint: options.frames,
      work: deployed,
      plants,
      receive: (arrival) => ingress.receive(arrival),
      logger: logger.child({ part: "ingress" }),
      onFailure,
    }),
  );
  // Disposed first: the broker waits for what is under way.
  for (const each of [lanes.streams.quota, lanes.jobs.quota, gate]) opened.use(each);
  logger.info({ framesUrl: intake.url, scoresUrl: delivery.url, deployments: deployments.length }, "stream processor started");
  const owned = opened.move();
  return {
    framesUrl: intake.url,
    scoresUrl: delivery.url,
    endpoints: { frames: intake, scores: delivery },
    counters: {
      ingress: ingress.counters,
      merging: counters.streams,
      egress: egress.streams.counters,
      jobs: { merging: counters.jobs, egress: egress.jobs.counters },
    },
    jobsWaiting: () => gate.waiting,
    lag: async (work) => (await members.get(work)?.lag()) ?? 0,
    plantLags: (work) => egress[work].lags(),
    done: ended.promise,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function forEachWork<T>(make: (work: WorkKind) => T): Readonly<Record<WorkKind, T>> {
  return { streams: make("streams"), jobs: make("jobs") };
}

/** Frames and batches of jobs that wait in the log, whoever put them there. */
async function jobsToScore(log: Log): Promise<number> {
  const { merging, scoring } = WORK_GROUPS.jobs;
  return (await log.groupLag(merging, WORK_TOPICS.jobs.frames)) + (await log.groupLag(scoring, WORK_TOPICS.jobs.batches));
}
