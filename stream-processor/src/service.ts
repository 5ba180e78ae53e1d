import { isPipelineError } from "@smile/errors/pipeline-error";
import { Egress, type EgressCounters } from "@smile/runtime/egress";
import type { Service } from "@smile/runtime/lifecycle";
import type { Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import type { AnyDeployment } from "@smile/schemas/record-documents";
import { LOG_TOPICS } from "@smile/schemas/topics";
import type { BatcherLimits } from "./batcher.ts";
import { Catalogue } from "./catalogue.ts";
import { type Delivery, openDelivery } from "./delivery.ts";
import type { Endpoint, EndpointState } from "./endpoint.ts";
import { Ingress, type IngressCounters } from "./ingress.ts";
import { openIntake } from "./intake.ts";
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
  /** Of each plant; default `defaultQuota`. */
  readonly quota?: Quota;
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
  };
  /** Frames of this member's partitions that are not settled. */
  lag(): Promise<number>;
  /** Records of each plant's partition behind its cursor, other plants' included: no fewer than the plant has still to fetch. */
  plantLags(): Promise<ReadonlyMap<string, number>>;
};

/** The consumer group in which stream processors share the frames. */
export const MERGING_GROUP = "smile-stream-processor";

/**
 * Ingress, merging and egress around one log. Dispose stops intake first; frames that were still waiting for company stay in the log.
 * @throws {PipelineError} BROKER_DOWN, LOG_UNAVAILABLE, LOG_GROUP_BUSY
 */
export async function startStreamProcessor(options: StreamProcessorOptions): Promise<StreamProcessor> {
  const { log, logger, deployments, plants, limits, partitions } = options;
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions })));
  const catalogue = new Catalogue(deployments);
  const ended = Promise.withResolvers<void>();
  ended.promise.catch(() => {}); // whoever awaits `done` sees it
  const stop = new AbortController();
  const counters: MergingCounters = { frames: 0, batches: 0, repeated: 0, skipped: 0 };

  // Disposed from the last to the first: intake, then merging, then egress.
  await using opened = new AsyncDisposableStack();
  const egress = new Egress(log, (topic, payload) => delivery.publish(topic, payload), ended.reject);
  const onFailure = (error: unknown) => {
    if (!isPipelineError(error, "STOPPED")) ended.reject(error);
  };
  const delivery: Delivery = opened.use(
    await openDelivery({
      endpoint: options.scores,
      plants,
      onCursor: (plant, cursor) => egress.cursor(plant, cursor),
      logger: logger.child({ part: "egress" }),
      onFailure,
    }),
  );
  opened.use(egress);
  plants.onChange(() => egress.endFeeds((plant) => plants.find(plant) === undefined));
  const member = opened.use(await log.join(MERGING_GROUP, [LOG_TOPICS.frames]));
  const merging = mergeFramesOf(log, member, { catalogue, limits, logger: logger.child({ part: "merging" }), counters }, stop.signal);
  merging.then(() => ended.resolve(), ended.reject);
  opened.defer(async () => {
    stop.abort();
    await merging.catch(() => {});
  });
  const guard = new ReplayGuard();
  await guard.restore(log, stop.signal);
  const quota = new PlantQuota(options.quota ?? defaultQuota);
  const refusals = new Refusals(log, plants, logger.child({ part: "ingress" }));
  const ingress = new Ingress(log, { registry: plants, catalogue }, { guard, quota, refusals });
  const intake = opened.use(
    await openIntake({
      endpoint: options.frames,
      plants,
      receive: (arrival) => ingress.receive(arrival),
      logger: logger.child({ part: "ingress" }),
      onFailure,
    }),
  );
  opened.use(quota); // disposed first: the broker waits for what is under way
  logger.info({ framesUrl: intake.url, scoresUrl: delivery.url, deployments: deployments.length }, "stream processor started");
  const owned = opened.move();
  return {
    framesUrl: intake.url,
    scoresUrl: delivery.url,
    endpoints: { frames: intake, scores: delivery },
    counters: { ingress: ingress.counters, merging: counters, egress: egress.counters },
    lag: () => member.lag(),
    plantLags: () => egress.lags(),
    done: ended.promise,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
