import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { Service } from "@smile/runtime/lifecycle";
import type { Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import { type Broker, type Publication, startBroker } from "@smile/runtime/mqtt-broker";
import { parseCursor } from "@smile/schemas/cursor";
import type { Deployment } from "@smile/schemas/documents";
import { cursorTopic, LOG_TOPICS, NAME, scoresTopic } from "@smile/schemas/topics";
import type { BatcherLimits } from "./batcher.ts";
import { Catalogue } from "./catalogue.ts";
import { Egress, type EgressCounters } from "./egress.ts";
import { Ingress, type IngressCounters } from "./ingress.ts";
import { type MergingCounters, mergeFramesOf } from "./merging.ts";

export type Listen = { readonly host: string; readonly port: number };

export type StreamProcessorOptions = {
  readonly log: Log;
  readonly logger: Logger;
  readonly deployments: readonly Deployment[];
  /** Where gateways publish frames. Port 0 takes a free one. */
  readonly frames: Listen;
  /** Where plants fetch scores: a broker of its own, so that a frozen subscriber cannot stall ingest. */
  readonly scores: Listen;
  readonly limits: BatcherLimits;
  /** Partitions of each topic, when it is created. */
  readonly partitions: number;
};

export type StreamProcessor = Service & {
  readonly framesUrl: string;
  readonly scoresUrl: string;
  readonly counters: { readonly ingress: IngressCounters; readonly merging: MergingCounters; readonly egress: EgressCounters };
};

/** The consumer group in which stream processors share the frames. */
export const MERGING_GROUP = "smile-stream-processor";

/**
 * Ingress, merging and egress around one log. Dispose stops intake first; frames that were still waiting for company stay in the log.
 * @throws {PipelineError} BROKER_DOWN, LOG_UNAVAILABLE, LOG_GROUP_BUSY
 */
export async function startStreamProcessor(options: StreamProcessorOptions): Promise<StreamProcessor> {
  const { log, logger, deployments, limits, partitions } = options;
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions })));
  const catalogue = new Catalogue(deployments);
  const ended = Promise.withResolvers<void>();
  ended.promise.catch(() => {}); // whoever awaits `done` sees it
  const stop = new AbortController();
  const counters: MergingCounters = { frames: 0, batches: 0, repeated: 0, skipped: 0 };

  // Disposed from the last to the first: intake, then merging, then egress.
  await using opened = new AsyncDisposableStack();
  const egress = new Egress(log, (topic, payload) => delivery.publish(topic, payload), ended.reject);
  const delivery: Broker = opened.use(
    await startBroker({
      ...options.scores,
      logger: logger.child({ part: "egress" }),
      authorizePublish: async (publication) => hearCursor(egress, publication, logger),
      authorizeSubscribe: async (_, filter) => isScoresTopic(filter),
    }),
  );
  opened.use(egress);
  const member = opened.use(await log.join(MERGING_GROUP, [LOG_TOPICS.frames]));
  const merging = mergeFramesOf(log, member, { catalogue, limits, logger: logger.child({ part: "merging" }), counters }, stop.signal);
  merging.then(() => ended.resolve(), ended.reject);
  opened.defer(async () => {
    stop.abort();
    await merging.catch(() => {});
  });
  const ingress = new Ingress(log, catalogue, logger.child({ part: "ingress" }));
  const intake = opened.use(
    await startBroker({
      ...options.frames,
      logger: logger.child({ part: "ingress" }),
      authorizePublish: ({ topic, payload }) => ingress.receive(topic, payload),
    }),
  );
  logger.info({ framesUrl: intake.url, scoresUrl: delivery.url, deployments: deployments.length }, "stream processor started");
  const owned = opened.move();
  return {
    framesUrl: intake.url,
    scoresUrl: delivery.url,
    counters: { ingress: ingress.counters, merging: counters, egress: egress.counters },
    done: ended.promise,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Plants subscribe to the scores of one plant; wildcards would reach the others'. */
function isScoresTopic(filter: string): boolean {
  const plant = filter.split("/")[2] ?? "";
  return NAME.test(plant) && filter === scoresTopic(plant);
}

/** The one thing that plants may publish. Anything else is refused by resolving: sent again it would be the same. */
function hearCursor(egress: Egress, { clientId, topic, payload }: Publication, logger: Logger): void {
  const plant = topic.split("/")[2] ?? "";
  try {
    if (!NAME.test(plant) || topic !== cursorTopic(plant))
      throw new PipelineError("FRAME_WRONG_SENDER", "plants publish nothing but their cursor");
    egress.cursor(plant, parseCursor(payload));
  } catch (error) {
    if (!isPipelineError(error)) throw error;
    logger.warn({ client: clientId, code: error.code }, "ignored a message to the delivery broker");
  }
}
