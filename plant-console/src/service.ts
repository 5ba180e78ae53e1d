import { setTimeout as delay } from "node:timers/promises";
import type { Service } from "@smile/runtime/lifecycle";
import type { Logger } from "@smile/runtime/logging";
import type { Deployment, Lease } from "@smile/schemas/documents";
import { type Delivery, deliveryCodec, type Gap } from "@smile/schemas/envelopes";
import { behind, standingOf } from "./cursor.ts";
import { CursorSender } from "./cursor-sender.ts";
import { DeliveryReader, type Outcome } from "./delivery-reader.ts";
import type { StoredGap } from "./gap-table.ts";
import { LaneMap } from "./lane-map.ts";
import { LatencyFigure } from "./latency.ts";
import type { OpenScoreLink } from "./score-link.ts";
import { type Risk, type ScoreKeys, ScoreReader } from "./score-reader.ts";
import type { AlertEvent, RiskStore, Stored, StoredRisk } from "./store.ts";
import type { Trust } from "./verification.ts";

export type PlantConsoleOptions = {
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
  /** Windows that were answered again with another score. A model service that confuses windows shows itself here. */
  readonly contradictions: number;
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
  /** Id of the key that the next score needs, that the plant's register lists, and that the keystore does not hold. */
  awaitedKey(): string | undefined;
}

/** How long a stopping console waits for its last cursor to be acknowledged. */
const LAST_CURSOR_MS = 1000;
/** Contradictions that one log line names. */
const NAMED_CONTRADICTIONS = 10;

/**
 * Receives encrypted scores, decrypts them and stores risks and alerts, each exactly once.
 * `done` rejects when the store fails; bad input is counted and passed over.
 *
 * No way back: what leaves for the service is the cursor and nothing else, and neither what it says nor when and how often it is sent
 * depends on a decrypted value. It moves over a delivery that was stored and over one that was refused alike; what refuses a delivery
 * is public to the service (signatures, ids, lengths, residues). A cursor is with the link before anybody is told of the risks behind
 * it, and listeners are called in a later turn of the event loop, so that one that throws or dawdles at a high risk holds nothing back.
 * @throws {PipelineError} CONFIG_INVALID for overlapping leases, DOCUMENT_INVALID for cards that do not fit the deployment
 */
export async function startPlantConsole(options: PlantConsoleOptions): Promise<PlantConsole> {
  const { plant, deployment, store, logger, now = Date.now, batchDeliveries = 64, batchWaitMs = 0, resendMs = 2000 } = options;
  const { keys, trust } = options;
  const laneMap = new LaneMap(options.leases, deployment.lanes);
  const reader = new DeliveryReader({ scores: new ScoreReader({ deployment, keys, laneMap }), keys, trust });
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
    contradictions: 0,
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
  /** While the files behind keys and trust are read anew. */
  let isRereading = false;
  /** The delivery for which they were: it is not done a second time. */
  let rereadFor: Delivery | undefined;
  let awaitedKey: string | undefined;
  let untold: Stored[] = [];

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
    awaitedKey: () => awaitedKey,
    [Symbol.asyncDispose]: async () => {
      if (stopping) return;
      clearInterval(resend);
      flush();
      stopping = true;
      cancelFlush();
      room.resolve();
      await Promise.race([cursorSender.idle(), delay(LAST_CURSOR_MS, undefined, { ref: false })]);
      await link[Symbol.asyncDispose]();
      tellAll();
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
    if (stopping || isRereading) return;
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
    if (queue.length === 0 || stopping || isRereading) return;
    const batch = queue;
    queue = [];
    try {
      const left = storeBatch(batch);
      if (left.length > 0) {
        queue = [...left, ...queue];
        void rereadAndGoOn(left[0]!);
        return;
      }
    } catch (error) {
      stopping = true;
      clearInterval(resend);
      logger.error({ err: error, plant }, "risks cannot be stored");
      failed.reject(error);
    }
    room.resolve();
    room = Promise.withResolvers<void>();
  }

  async function rereadAndGoOn(delivery: Delivery): Promise<void> {
    isRereading = true;
    rereadFor = delivery;
    try {
      await options.reread?.();
    } catch (error) {
      logger.error({ err: error, plant }, "keys or signers cannot be read anew");
    }
    isRereading = false;
    flush();
  }

  /** @returns deliveries that were not dealt with, the first of which needs the files behind keys and trust to be read anew */
  function storeBatch(batch: readonly Delivery[]): readonly Delivery[] {
    let after = cursor;
    let early = 0;
    let left: readonly Delivery[] = [];
    const risks: Risk[] = [];
    const gaps: Gap[] = [];
    for (const [i, delivery] of batch.entries()) {
      const standing = standingOf(delivery, after);
      if (standing === "stored") counts.repeatedDeliveries++;
      if (standing === "ahead") early++;
      if (standing !== "next") continue;
      const outcome = reader.read(delivery.score, now());
      if (mayBeOutdated(outcome) && options.reread !== undefined && rereadFor !== delivery) {
        left = batch.slice(i);
        break;
      }
      if (outcome.kind === "awaited") {
        // The cursor stays before it: the delivery comes again, and so does all that follows it.
        if (awaitedKey !== outcome.keyId) logger.error({ err: outcome.error, plant, offset: delivery.offset }, "waiting for a key");
        awaitedKey = outcome.keyId;
        break;
      }
      awaitedKey = undefined;
      after = behind(delivery);
      if (outcome.kind === "refused") {
        refused[outcome.error.code] = (refused[outcome.error.code] ?? 0) + 1;
        logger.warn({ err: outcome.error, plant, offset: delivery.offset }, "score refused");
        continue;
      }
      if (outcome.unknownLanes > 0) {
        counts.unknownLanes += outcome.unknownLanes;
        logger.warn({ plant, offset: delivery.offset, unknownLanes: outcome.unknownLanes }, "scores of lanes that no lease names");
      }
      risks.push(...outcome.risks);
      gaps.push(...outcome.gaps);
    }
    if (after !== cursor) {
      const storedAtMs = now();
      const stored = store.commit({ risks, gaps, cursor: after, storedAtMs }, rules);
      cursor = after;
      askedToResume = false;
      storedSinceResend = true;
      cursorSender.offer({ ...cursor, resume: false });
      count(stored, storedAtMs);
      if (untold.push(stored) === 1) setImmediate(tellAll);
    }
    counts.earlyDeliveries += early;
    if (early > 0 && !askedToResume) askToResume();
    return left;
  }

  function count(stored: Stored, storedAtMs: number): void {
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
    const { contradictions } = stored;
    if (contradictions.length === 0) return;
    counts.contradictions += contradictions.length;
    const facts = { plant, windows: contradictions.length, ids: contradictions.slice(0, NAMED_CONTRADICTIONS) };
    logger.error(facts, "the model service answered windows again, with other scores; the first ones stay");
  }

  /** What was stored, in its order; alerts before the risks of their batch, which may be many. */
  function tellAll(): void {
    const batches = untold;
    untold = [];
    for (const { alerts, risks, gaps } of batches) {
      tell(alerts, options.onAlert);
      tell(risks, options.onRisk);
      tell(gaps, options.onGap);
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

function mayBeOutdated(outcome: Outcome): boolean {
  return outcome.kind === "awaited" || (outcome.kind === "refused" && outcome.mayChange);
}
