import type { Logger } from "@smile/runtime/logging";
import type { Deployment, Lease } from "@smile/schemas/documents";
import { Announcer, type Listeners } from "./announcer.ts";
import { type ConsoleCounters, Counts } from "./counts.ts";
import { type DeliveryLoop, type DeliveryPace, startDeliveryLoop } from "./delivery-loop.ts";
import { DeliveryReader, type ReadDelivery } from "./delivery-reader.ts";
import { LaneMap } from "./lane-map.ts";
import type { LatencyFigure } from "./latency.ts";
import { RareWarnings } from "./rare-warnings.ts";
import type { OpenScoreLink } from "./score-link.ts";
import { type ScoreKeys, ScoreReader } from "./score-reader.ts";
import type { RiskStore } from "./store.ts";
import type { Trust } from "./verification.ts";

export type PlantConsoleOptions = Listeners &
  DeliveryPace & {
    readonly plant: string;
    readonly deployment: Deployment;
    /** Asked for each score. The caller disposes of the decryptors, after the service. */
    readonly keys: ScoreKeys;
    /** Whom to believe, asked for each delivery. */
    readonly trust: () => Trust;
    /**
     * Reads anew what stands behind `keys` and `trust`, if it changed. Called before a delivery is refused for want of a key or of somebody
     * to believe: deliveries wait until it resolves, in their order. Without it they are refused at once.
     */
    readonly reread?: () => Promise<void>;
    readonly leases: readonly Lease[];
    /** The caller disposes of it, after the service. */
    readonly store: RiskStore;
    readonly openLink: OpenScoreLink;
    readonly logger: Logger;
    /** Milliseconds since 1970; default Date.now. */
    readonly now?: () => number;
  };

export interface PlantConsole extends DeliveryLoop {
  counters(): ConsoleCounters;
  /** From closed at the gateway to stored here. */
  latency(): ReturnType<LatencyFigure["read"]>;
}

/**
 * Receives encrypted scores, decrypts them and stores risks and alerts, each exactly once.
 * `done` rejects when the store fails; bad input is counted and passed over.
 *
 * No way back (see `startDeliveryLoop`): a cursor is with the link before anybody is told of the risks behind it, and listeners are
 * called in a later turn of the event loop, so that one that throws or dawdles at a high risk holds nothing back.
 * @throws {PipelineError} CONFIG_INVALID for overlapping leases, DOCUMENT_INVALID for cards that do not fit the deployment
 */
export async function startPlantConsole(options: PlantConsoleOptions): Promise<PlantConsole> {
  const { plant, deployment, store, logger, now = Date.now } = options;
  const { keys, trust } = options;
  const laneMap = new LaneMap(options.leases, deployment.lanes);
  const reader = new DeliveryReader({ scores: new ScoreReader({ deployment, keys, laneMap }), keys, trust });
  const rules = new Map(deployment.cards.map((card) => [card.headId, card.alert]));
  const counts = new Counts();
  const announcer = new Announcer(options, logger);
  const warnings = new RareWarnings(logger);
  const { batchDeliveries, batchWaitMs, resendMs } = options;
  const loop = startDeliveryLoop<ReadDelivery>({
    ...{ plant, logger, counts, warnings, openLink: options.openLink, reread: options.reread, cursor: store.cursor },
    ...(batchDeliveries !== undefined && { batchDeliveries }),
    ...(batchWaitMs !== undefined && { batchWaitMs }),
    ...(resendMs !== undefined && { resendMs }),
    read: ({ score, offset }) => {
      const outcome = reader.read(score, now());
      if (outcome.kind === "read") tellDropped(outcome.value, offset);
      return outcome;
    },
    store: (read, cursor) => {
      const storedAtMs = now();
      const risks = read.flatMap((each) => each.risks);
      const gaps = read.flatMap((each) => each.gaps);
      const stored = store.commit({ risks, gaps, cursor, storedAtMs }, rules);
      return () => {
        counts.addStored(stored, storedAtMs);
        announcer.announce(stored);
      };
    },
  });
  logger.info({ plant, machines: laneMap.machines.length, cursor: store.cursor }, "plant console started");
  return {
    ...loop,
    counters: () => counts.read(),
    latency: () => counts.latency.read(),
    [Symbol.asyncDispose]: async () => {
      await loop[Symbol.asyncDispose]();
      announcer.tellAll();
    },
  };

  function tellDropped({ unknownLanes, revokedWindows }: ReadDelivery, offset: number): void {
    if (unknownLanes > 0) {
      counts.add("unknownLanes", unknownLanes);
      warnings.warn("unknown lanes", { plant, offset, unknownLanes }, "scores of lanes that no lease names");
    }
    if (revokedWindows > 0) {
      counts.add("revokedWindows", revokedWindows);
      logger.warn({ plant, offset, revokedWindows }, "scores of a gateway that was revoked");
    }
  }
}
