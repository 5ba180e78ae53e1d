import { setTimeout as delay } from "node:timers/promises";
import type { Service } from "@smile/runtime/lifecycle";
import type { Logger } from "@smile/runtime/logging";
import type { Deployment, Lease } from "@smile/schemas/documents";
import { type Delivery, deliveryCodec, type Gap } from "@smile/schemas/envelopes";
import { Announcer, type Listeners } from "./announcer.ts";
import { type ConsoleCounters, Counts } from "./counts.ts";
import { behind, standingOf } from "./cursor.ts";
import { CursorSender } from "./cursor-sender.ts";
import { DeliveryReader, type Outcome } from "./delivery-reader.ts";
import { LaneMap } from "./lane-map.ts";
import type { LatencyFigure } from "./latency.ts";
import { RareWarnings } from "./rare-warnings.ts";
import type { OpenScoreLink } from "./score-link.ts";
import { type Risk, type ScoreKeys, ScoreReader } from "./score-reader.ts";
import type { RiskStore } from "./store.ts";
import type { Trust } from "./verification.ts";

export type PlantConsoleOptions = Listeners & {
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
  /** Deliveries that go into one transaction at most; default 64. */
  readonly batchDeliveries?: number;
  /** How long a batch waits for more; default 0: until the event loop has handed over what has arrived. */
  readonly batchWaitMs?: number;
  /** How long nothing may have been stored until the cursor is sent again; default 2 s. */
  readonly resendMs?: number;
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
  const counts = new Counts();
  const announcer = new Announcer(options, logger);
  const warnings = new RareWarnings(logger);
  const failed = Promise.withResolvers<void>();
  failed.promise.catch(() => {}); // whoever awaits `done` sees the error; until then it must not count as unhandled

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

  const link = options.openLink({ onConnected: askToResume, onDelivery });
  const cursorSender = new CursorSender((message) => link.sendCursor(message));
  const resend = setInterval(() => {
    if (!storedSinceResend) askToResume();
    storedSinceResend = false;
  }, resendMs);
  logger.info({ plant, machines: laneMap.machines.length, cursor }, "plant console started");

  return {
    done: failed.promise,
    counters: () => counts.read(),
    latency: () => counts.latency.read(),
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
      announcer.tellAll();
      failed.resolve();
    },
  };

  function askToResume(): void {
    askedToResume = true;
    cursorSender.offer({ ...cursor, resume: true });
  }

  async function onDelivery(payload: Uint8Array): Promise<void> {
    if (stopping) return;
    counts.add("deliveries");
    try {
      // The payload is mqtt.js's own buffer per message, so its parts may be kept until the batch is done.
      queue.push(deliveryCodec.decode(payload));
    } catch (error) {
      counts.add("malformed");
      warnings.warn("malformed", { err: error, length: payload.length }, "not a delivery");
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
      if (standing === "stored") counts.add("repeatedDeliveries");
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
        counts.addRefused(outcome.error.code);
        warnings.warn(outcome.error.code, { err: outcome.error, plant, offset: delivery.offset }, "score refused");
        continue;
      }
      if (outcome.unknownLanes > 0) {
        counts.add("unknownLanes", outcome.unknownLanes);
        const facts = { plant, offset: delivery.offset, unknownLanes: outcome.unknownLanes };
        warnings.warn("unknown lanes", facts, "scores of lanes that no lease names");
      }
      if (outcome.revokedWindows > 0) {
        counts.add("revokedWindows", outcome.revokedWindows);
        logger.warn({ plant, offset: delivery.offset, revokedWindows: outcome.revokedWindows }, "scores of a gateway that was revoked");
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
      counts.addStored(stored, storedAtMs);
      announcer.announce(stored);
    }
    counts.add("earlyDeliveries", early);
    if (early > 0 && !askedToResume) askToResume();
    return left;
  }
}

function mayBeOutdated(outcome: Outcome): boolean {
  return outcome.kind === "awaited" || (outcome.kind === "refused" && outcome.mayChange);
}
