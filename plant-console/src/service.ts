import { setTimeout as delay } from "node:timers/promises";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { Service } from "@smile/runtime/lifecycle";
import type { Logger } from "@smile/runtime/logging";
import type { Deployment, Lease } from "@smile/schemas/documents";
import { type Delivery, deliveryCodec, type Gap, gapCodec } from "@smile/schemas/envelopes";
import { behind, standingOf } from "./cursor.ts";
import { CursorSender } from "./cursor-sender.ts";
import { readGap } from "./gap-reader.ts";
import type { StoredGap } from "./gap-table.ts";
import { LaneMap } from "./lane-map.ts";
import { LatencyFigure } from "./latency.ts";
import type { OpenScoreLink } from "./score-link.ts";
import { type DecryptionKey, type Risk, ScoreReader } from "./score-reader.ts";
import type { AlertEvent, RiskStore, StoredRisk } from "./store.ts";

export type PlantConsoleOptions = {
  readonly plant: string;
  readonly deployment: Deployment;
  /** One for the plant in public mode, one per gateway in symmetric mode. The caller disposes of their decryptors, after the service. */
  readonly keys: readonly DecryptionKey[];
  readonly leases: readonly Lease[];
  /** The caller disposes of it, after the service. */
  readonly store: RiskStore;
  readonly openLink: OpenScoreLink;
  readonly logger: Logger;
  /** Told of each new risk after it is on the disk. An error thrown here is logged and changes nothing. */
  readonly onRisk?: (risk: StoredRisk) => void;
  readonly onAlert?: (event: AlertEvent) => void;
  /** Told of each new gap of which something is missing. */
  readonly onGap?: (gap: StoredGap) => void;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: () => number;
  /** Deliveries that go into one transaction at most; default 64. */
  readonly batchDeliveries?: number;
  /** How long a batch waits for more; default 0: until the event loop has handed over what has arrived. */
  readonly batchWaitMs?: number;
  /** How long nothing may have been stored until the cursor is sent again; default 2 s. */
  readonly resendMs?: number;
};

/** Counts since the start of this process. */
export type ConsoleCounters = {
  /** Delivery envelopes received. */
  readonly deliveries: number;
  /** Deliveries behind the cursor, which were stored before. */
  readonly repeatedDeliveries: number;
  /** Deliveries passed over because one before them is missing; they come again. */
  readonly earlyDeliveries: number;
  /** Payloads that are no delivery. The cursor stays before them: what was sent there may be one that a newer console can read. */
  readonly malformed: number;
  /** Deliveries refused for good, by code of the catalogue. */
  readonly refused: Readonly<Record<string, number>>;
  /** Lanes that are leased to nobody, or not to the gateway that filled them; their scores are dropped. */
  readonly unknownLanes: number;
  readonly risks: number;
  readonly duplicates: number;
  readonly late: number;
  readonly raised: number;
  readonly cleared: number;
  /** New gaps, and what was missing of them when they were stored. Some may still arrive: the store knows. */
  readonly gaps: number;
  readonly lostFrames: number;
  readonly lostWindows: number;
};

export interface PlantConsole extends Service {
  counters(): ConsoleCounters;
  /** From closed at the gateway to stored here. */
  latency(): ReturnType<LatencyFigure["read"]>;
  /** Whether the connection to the service stands. */
  connected(): boolean;
  /** Deliveries received and not dealt with. What the service still has for the plant, the console cannot know. */
  waiting(): number;
}

/** How long a stopping console waits for its last cursor to be acknowledged. */
const LAST_CURSOR_MS = 1000;

/**
 * Receives encrypted scores, decrypts them and stores risks and alerts, each exactly once. Nothing flows back but the cursor.
 * `done` rejects when the store fails; bad input is counted and passed over.
 * @throws {PipelineError} CONFIG_INVALID for overlapping leases, DOCUMENT_INVALID for cards that do not fit the deployment
 */
export async function startPlantConsole(options: PlantConsoleOptions): Promise<PlantConsole> {
  const { plant, deployment, store, logger, now = Date.now, batchDeliveries = 64, batchWaitMs = 0, resendMs = 2000 } = options;
  const laneMap = new LaneMap(options.leases, deployment.lanes);
  const reader = new ScoreReader({ plant, deployment, keys: options.keys, laneMap });
  const rules = new Map(deployment.cards.map((card) => [card.headId, card.alert]));
  const latency = new LatencyFigure();
  const failed = Promise.withResolvers<void>();
  failed.promise.catch(() => {}); // whoever awaits `done` sees the error; until then it must not count as unhandled

  const refused: Record<string, number> = {};
  const counts = {
    deliveries: 0,
    repeatedDeliveries: 0,
    earlyDeliveries: 0,
    malformed: 0,
    unknownLanes: 0,
    risks: 0,
    duplicates: 0,
    late: 0,
    raised: 0,
    cleared: 0,
    gaps: 0,
    lostFrames: 0,
    lostWindows: 0,
  };
  let queue: Delivery[] = [];
  let room = Promise.withResolvers<void>();
  let scheduled: NodeJS.Timeout | NodeJS.Immediate | null = null;
  let cursor = store.cursor;
  /** Since the cursor moved last. */
  let askedToResume = false;
  let storedSinceResend = false;
  let stopping = false;

  const link = options.openLink({ onConnected: askToResume, onDelivery });
  const cursorSender = new CursorSender((message) => link.sendCursor(message));
  const resend = setInterval(() => {
    if (!storedSinceResend) askToResume();
    storedSinceResend = false;
  }, resendMs);
  logger.info({ plant, machines: laneMap.machines.length, cursor }, "plant console started");

  return {
    done: failed.promise,
    counters: () => ({ ...counts, refused: { ...refused } }),
    latency: () => latency.read(),
    connected: () => link.connected,
    waiting: () => queue.length,
    [Symbol.asyncDispose]: async () => {
      if (stopping) return;
      clearInterval(resend);
      flush();
      stopping = true;
      cancelFlush();
      room.resolve();
      await Promise.race([cursorSender.idle(), delay(LAST_CURSOR_MS, undefined, { ref: false })]);
      await link[Symbol.asyncDispose]();
      failed.resolve();
    },
  };

  function askToResume(): void {
    askedToResume = true;
    cursorSender.offer({ ...cursor, resume: true });
  }

  async function onDelivery(payload: Uint8Array): Promise<void> {
    if (stopping) return;
    counts.deliveries++;
    try {
      // The payload is mqtt.js's own buffer per message, so its parts may be kept until the batch is done.
      queue.push(deliveryCodec.decode(payload));
    } catch (error) {
      counts.malformed++;
      logger.warn({ err: error, length: payload.length }, "not a delivery");
      return;
    }
    schedule();
    if (queue.length >= batchDeliveries) await room.promise;
  }

  function schedule(): void {
    if (stopping) return;
    const full = queue.length >= batchDeliveries;
    if (full && batchWaitMs > 0) cancelFlush(); // a full batch waits no longer
    if (scheduled !== null) return;
    scheduled = batchWaitMs > 0 && !full ? setTimeout(flush, batchWaitMs) : setImmediate(flush);
  }

  function cancelFlush(): void {
    if (scheduled === null) return;
    clearTimeout(scheduled as NodeJS.Timeout);
    clearImmediate(scheduled as NodeJS.Immediate);
    scheduled = null;
  }

  /** Deals with what has arrived, in one transaction. */
  function flush(): void {
    cancelFlush();
    if (queue.length === 0 || stopping) return;
    const batch = queue;
    queue = [];
    try {
      storeBatch(batch);
    } catch (error) {
      stopping = true;
      clearInterval(resend);
      logger.error({ err: error, plant }, "risks cannot be stored");
      failed.reject(error);
    }
    room.resolve();
    room = Promise.withResolvers<void>();
  }

  function storeBatch(batch: readonly Delivery[]): void {
    let after = cursor;
    let early = 0;
    const risks: Risk[] = [];
    const gaps: Gap[] = [];
    for (const delivery of batch) {
      const standing = standingOf(delivery, after);
      if (standing === "stored") counts.repeatedDeliveries++;
      else if (standing === "ahead") early++;
      else {
        const read = readOrRefuse(delivery);
        risks.push(...read.risks);
        gaps.push(...read.gaps);
        after = behind(delivery);
      }
    }
    if (after !== cursor) {
      const storedAtMs = now();
      const stored = store.commit({ risks, gaps, cursor: after, storedAtMs }, rules);
      counts.risks += stored.risks.length;
      counts.duplicates += stored.duplicates;
      counts.late += stored.late;
      for (const { kind } of stored.alerts) counts[kind]++;
      for (const { missingFrames, missingWindows } of stored.gaps) {
        counts.gaps++;
        counts.lostFrames += missingFrames;
        counts.lostWindows += missingWindows;
      }
      for (const risk of stored.risks) latency.record(storedAtMs - risk.closedAtMs);
      cursor = after;
      askedToResume = false;
      storedSinceResend = true;
      cursorSender.offer({ ...cursor, resume: false });
      tell(stored.alerts, options.onAlert); // first: an alert does not wait until all risks of its batch are told of
      tell(stored.risks, options.onRisk);
      tell(stored.gaps, options.onGap);
    }
    counts.earlyDeliveries += early;
    if (early > 0 && !askedToResume) askToResume();
  }

  function readOrRefuse(delivery: Delivery): { readonly risks: readonly Risk[]; readonly gaps: readonly Gap[] } {
    try {
      if (gapCodec.claims(delivery.score)) return { risks: [], gaps: [readGap(delivery.score, plant)] };
      const { risks, unknownLanes } = reader.read(delivery.score);
      if (unknownLanes > 0) {
        counts.unknownLanes += unknownLanes;
        logger.warn({ plant, offset: delivery.offset, unknownLanes }, "scores of lanes that no lease names");
      }
      return { risks, gaps: [] };
    } catch (error) {
      // Whatever the bytes make a decoder do, the next delivery must not wait for it.
      const refusal = isPipelineError(error) ? error : new PipelineError("SCORE_MISMATCH", "the score cannot be read", {}, error);
      refused[refusal.code] = (refused[refusal.code] ?? 0) + 1;
      logger.warn({ err: refusal, plant, offset: delivery.offset }, "score refused");
      return { risks: [], gaps: [] };
    }
  }

  function tell<T>(events: readonly T[], listener: ((event: T) => void) | undefined): void {
    if (!listener) return;
    for (const event of events) {
      try {
        listener(event);
      } catch (error) {
        logger.error({ err: error }, "a listener failed");
      }
    }
  }
}
