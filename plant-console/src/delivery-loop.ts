import { setTimeout as delay } from "node:timers/promises";
import type { Service } from "@smile/runtime/lifecycle";
import type { Logger } from "@smile/runtime/logging";
import type { Cursor } from "@smile/schemas/cursor";
import { type Delivery, deliveryCodec } from "@smile/schemas/envelopes";
import { behind, standingOf } from "./cursor.ts";
import { CursorSender } from "./cursor-sender.ts";
import type { Outcome } from "./outcome.ts";
import type { RareWarnings } from "./rare-warnings.ts";
import type { OpenScoreLink } from "./score-link.ts";

/** Where a loop counts what came; see `ConsoleCounters`. */
export type DeliveryCounts = {
  add(what: "deliveries" | "repeatedDeliveries" | "earlyDeliveries" | "malformed", by?: number): void;
  addRefused(code: string): void;
};

/** How deliveries are gathered into transactions. */
export type DeliveryPace = {
  /** Deliveries that go into one transaction at most; default 64. */
  readonly batchDeliveries?: number;
  /** How long a batch waits for more; default 0: until the event loop has handed over what has arrived. */
  readonly batchWaitMs?: number;
  /**
   * How long nothing may have been stored until the cursor is sent again; default 2 s. Where nothing is stored for longer, each time twice
   * as long, up to sixteen times: a plant with a window a minute would send thirty cursors for each score.
   */
  readonly resendMs?: number;
};

export type DeliveryLoopOptions<T> = DeliveryPace & {
  readonly plant: string;
  readonly openLink: OpenScoreLink;
  /** Where the store stands. */
  readonly cursor: Cursor;
  readonly read: (delivery: Delivery) => Outcome<T>;
  /**
   * Stores what was read together with the cursor behind it. Durable when it returns; what it returns is called once the cursor is with
   * the link.
   */
  readonly store: (read: readonly T[], cursor: Cursor) => () => void;
  /** Reads anew what stands behind keys and trust. Without it, what is refused for want of them is refused at once. */
  readonly reread?: (() => Promise<void>) | undefined;
  readonly counts: DeliveryCounts;
  readonly warnings: RareWarnings;
  readonly logger: Logger;
};

export interface DeliveryLoop extends Service {
  /** Whether the connection to the service stands. */
  connected(): boolean;
  /** Deliveries received and not dealt with. What the service still has for the plant, the console cannot know. */
  waiting(): number;
  /** Id of the key that the next score needs, that the plant's register lists, and that the keystore does not hold. */
  awaitedKey(): string | undefined;
}

/** How long a stopping console waits for its last cursor to be acknowledged. */
const LAST_CURSOR_MS = 1000;
const LONGEST_RESENDS = 16;

/**
 * Receives deliveries in the order of the service's log, reads them, and has them stored, each once. `done` rejects when storing fails;
 * bad input is counted and passed over.
 *
 * No way back: what leaves for the service is the cursor and nothing else, and neither what it says nor when and how often it is sent
 * depends on a decrypted value. It moves over a delivery that was stored and over one that was refused alike; what refuses a delivery
 * is public to the service (signatures, ids, lengths, residues).
 */
export function startDeliveryLoop<T>(options: DeliveryLoopOptions<T>): DeliveryLoop {
  const { plant, counts, warnings, logger, batchDeliveries = 64, batchWaitMs = 0, resendMs = 2000 } = options;
  const failed = Promise.withResolvers<void>();
  failed.promise.catch(() => {}); // whoever awaits `done` sees the error; until then it must not count as unhandled

  let queue: Delivery[] = [];
  let room = Promise.withResolvers<void>();
  let scheduled: NodeJS.Timeout | NodeJS.Immediate | null = null;
  let { cursor } = options;
  /** Since the cursor moved last. */
  let askedToResume = false;
  let storedSinceResend = false;
  let stopping = false;
  /** While the files behind keys and trust are read anew. */
  let isRereading = false;
  /** The delivery for which they were: it is not done a second time. */
  let rereadFor: Delivery | undefined;
  let awaitedKey: string | undefined;

  const link = options.openLink({ onConnected, onDelivery });
  const cursorSender = new CursorSender((message) => link.sendCursor(message));
  let waitMs = resendMs;
  let resend = setTimeout(resendCursor, waitMs);

  return {
    done: failed.promise,
    connected: () => link.connected,
    waiting: () => queue.length,
    awaitedKey: () => awaitedKey,
    [Symbol.asyncDispose]: async () => {
      if (stopping) return;
      clearTimeout(resend);
      flush();
      stopping = true;
      cancelFlush();
      room.resolve();
      await Promise.race([cursorSender.idle(), delay(LAST_CURSOR_MS, undefined, { ref: false })]);
      await link[Symbol.asyncDispose]();
      failed.resolve();
    },
  };

  function resendCursor(): void {
    if (!storedSinceResend) askToResume();
    waitMs = storedSinceResend ? Math.max(resendMs, waitMs / 2) : Math.min(2 * waitMs, LONGEST_RESENDS * resendMs);
    storedSinceResend = false;
    resend = setTimeout(resendCursor, waitMs);
  }

  /** Whatever was on its way is lost. */
  function onConnected(): void {
    waitMs = resendMs;
    askToResume();
  }

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
      clearTimeout(resend);
      logger.error({ err: error, plant }, "deliveries cannot be stored");
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
    const read: T[] = [];
    for (const [i, delivery] of batch.entries()) {
      const standing = standingOf(delivery, after);
      if (standing === "stored") counts.add("repeatedDeliveries");
      if (standing === "ahead") early++;
      if (standing !== "next") continue;
      const outcome = options.read(delivery);
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
      if (outcome.kind === "read") read.push(outcome.value);
      else {
        counts.addRefused(outcome.error.code);
        warnings.warn(outcome.error.code, { err: outcome.error, plant, offset: delivery.offset }, "score refused");
      }
    }
    if (after !== cursor) {
      const announce = options.store(read, after);
      cursor = after;
      askedToResume = false;
      storedSinceResend = true;
      cursorSender.offer({ ...cursor, resume: false });
      announce();
    }
    counts.add("earlyDeliveries", early);
    if (early > 0 && !askedToResume) askToResume();
    return left;
  }
}

function mayBeOutdated(outcome: Outcome<unknown>): boolean {
  return outcome.kind === "awaited" || (outcome.kind === "refused" && outcome.mayChange);
}
