import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import type { CursorMessage } from "@smile/schemas/cursor";
import { deliveryCodec } from "@smile/schemas/envelopes";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import { KeyIndex } from "./key-index.ts";
import type { Log } from "./log.ts";
import { partitionOf } from "./partition.ts";

/** What egress has done since it started; repeats after a plant resumed count again. */
export type EgressCounters = { deliveries: number; bytes: number };

/** Scores that may be on their way to a plant beyond its cursor. */
const WINDOW = 256;
/** Reading blocks the thread: scores of jobs, which nobody waits for, come a few at a time. */
const READ = {
  streams: { maxBytes: 4 * 1024 * 1024, waitMs: 1000 },
  jobs: { maxBytes: 512 * 1024, waitMs: 1000 },
} as const;
/** How fast a feed may read what it does not send: others' records, and what a plant went back before. */
const PASSED_BYTES_PER_MS = 100_000;
/** What it may read of that at once, in ms at that rate. */
const PASSED_AT_ONCE_MS = 50;

/**
 * Scores out of the log to the plants, each from the cursor that the plant keeps. Egress itself keeps nothing: a plant that was away
 * says where it stopped and gets everything since, and one that does not answer gets no more than a window of scores. Reading may take the
 * whole thread: so a plant far behind, or one that goes back again and again, reads slowly what does not reach it.
 */
export class Egress implements AsyncDisposable {
  readonly counters: EgressCounters = { deliveries: 0, bytes: 0 };
  readonly #log: Log;
  readonly #publish: (topic: string, payload: Uint8Array) => Promise<void>;
  readonly #onFailure: (error: unknown) => void;
  readonly #kind: WorkKind;
  readonly #stop = new AbortController();
  readonly #feeds = new Map<string, Feed>();
  /** By partition. */
  readonly #indexes = new Map<number, KeyIndex>();
  /** Also of feeds that were ended. */
  readonly #running = new Set<Promise<void>>();

  /**
   * @param onFailure called once with what ended a plant's feed, such as a log that fails
   * @param kind whose scores it delivers; each kind has cursors of its own
   */
  constructor(
    log: Log,
    publish: (topic: string, payload: Uint8Array) => Promise<void>,
    onFailure: (error: unknown) => void,
    kind: WorkKind = "streams",
  ) {
    this.#log = log;
    this.#publish = publish;
    this.#onFailure = onFailure;
    this.#kind = kind;
  }

  /** Takes a plant's cursor: begins its feed, moves its window on, or has it go back. */
  cursor(plant: string, cursor: CursorMessage): void {
    if (this.#stop.signal.aborted) return;
    let feed = this.#feeds.get(plant);
    if (feed === undefined) {
      feed = new Feed();
      this.#feeds.set(plant, feed);
      this.#begin(plant, feed);
    }
    feed.hear(cursor);
  }

  /** Ends the feeds of plants that are not served any more; a cursor would begin one anew. */
  endFeeds(isEnded: (plant: string) => boolean): void {
    for (const [plant, feed] of this.#feeds) {
      if (!isEnded(plant)) continue;
      this.#feeds.delete(plant);
      feed.end();
    }
  }

  /** How many records of its partition lie behind each plant's cursor, those of other plants included. */
  async lags(): Promise<ReadonlyMap<string, number>> {
    const ends = await this.#log.ends(WORK_TOPICS[this.#kind].scores);
    const lag = ([plant, { stored }]: [string, Feed]) => {
      const { earliest, latest } = ends[partitionOf(plant, ends.length)]!;
      return [plant, latest - Math.max(earliest, stored)] as const;
    };
    return new Map([...this.#feeds].map(lag));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const feed of this.#feeds.values()) feed.end();
    await Promise.all(this.#running);
  }

  #begin(plant: string, feed: Feed): void {
    const running = this.#feed(plant, feed)
      .catch((error: unknown) => {
        if (feed.ended) return;
        this.#feeds.delete(plant);
        this.#onFailure(error);
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Feeds that are not far behind share one reading of their partition. */
  #indexOf(partition: number): KeyIndex {
    const kept = this.#indexes.get(partition);
    if (kept !== undefined && !kept.failed) return kept;
    const limits = { ...READ[this.#kind], maxRecords: WINDOW };
    const index = new KeyIndex(this.#log, { topic: WORK_TOPICS[this.#kind].scores, partition }, limits, this.#stop.signal);
    this.#indexes.set(partition, index);
    return index;
  }

  async #feed(plant: string, feed: Feed): Promise<void> {
    const { scores: topic, mqtt } = WORK_TOPICS[this.#kind];
    const topicId = await this.#log.topicId(topic);
    const partition = partitionOf(plant, (await this.#log.ends(topic)).length);
    let passedUntilMs = 0;
    while (!feed.ended) {
      feed.follow({ topicId, partition });
      const room = WINDOW - feed.inFlight;
      if (room <= 0) {
        await feed.heard();
        continue;
      }
      const stop = feed.interruption();
      const records =
        (await this.#indexOf(partition).read(plant, feed.next, room, stop)) ??
        (await this.#log.read({ topic, partition, offset: feed.next }, { ...READ[this.#kind], maxRecords: room }, stop));
      let passed = records.reduce((sum, { value }) => sum + value.length, 0);
      for (const { key, offset, value } of records) {
        if (feed.ended || feed.follow({ topicId, partition })) break;
        feed.next = offset + 1;
        if (key !== plant) continue;
        const payload = deliveryCodec.encode({ topicId, partition, from: feed.from, offset, score: value });
        feed.sent(offset);
        passed -= value.length;
        await feed.untilEnded(this.#publish(mqtt.scores(plant), payload));
        this.counters.deliveries += 1;
        this.counters.bytes += payload.length;
      }
      const nowMs = performance.now();
      passedUntilMs = Math.max(passedUntilMs, nowMs) + passed / PASSED_BYTES_PER_MS;
      const tooEarlyMs = passedUntilMs - nowMs - PASSED_AT_ONCE_MS;
      await (tooEarlyMs > 0 ? feed.untilEnded(delay(tooEarlyMs)) : nextTurn());
    }
  }
}

/** Consoles that have nothing to do ask again and again: an error with its stack each time would be most of what that costs. */
const WITHOUT_ERROR = "a cursor came";

/** Where one plant's feed stands. */
class Feed {
  /** Offset to read next. */
  next = 0;
  /** All of the plant's below it is sent or stored: where the next delivery's claim begins. */
  from = 0;
  #ended = false;
  #release = () => {};
  /** The plant's cursor, as far as it is followed. */
  #stored = 0;
  /** Offsets sent and not stored, ascending. */
  #inFlight: number[] = [];
  /** What the plant has said and `follow` has not taken yet. */
  #heard: CursorMessage | null = null;
  #news = Promise.withResolvers<void>();
  #reading = new AbortController();

  get ended(): boolean {
    return this.#ended;
  }

  get stored(): number {
    return this.#stored;
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  sent(offset: number): void {
    this.#inFlight.push(offset);
    this.from = offset + 1;
  }

  hear(cursor: CursorMessage): void {
    this.#heard = { ...cursor, resume: cursor.resume || this.#heard?.resume === true };
    if (cursor.resume) this.#reading.abort(WITHOUT_ERROR);
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  /**
   * Does what the plant has asked for since the last call. A cursor of another topic or partition (the log was made anew) is one of a
   * plant that has stored nothing. Going back is for what may be lost; an idle plant that asks has nothing on its way, and the others'
   * records behind its cursor are not read again and again.
   * @returns true when the feed goes on elsewhere: what was read before is not sent
   */
  follow({ topicId, partition }: { readonly topicId: string; readonly partition: number }): boolean {
    if (this.#heard === null) return false;
    const cursor = this.#heard;
    this.#heard = null;
    const isHere = (cursor.topicId ?? topicId) === topicId && (cursor.partition ?? partition) === partition;
    const next = isHere ? (cursor.next ?? 0) : 0;
    this.#inFlight = this.#inFlight.filter((offset) => offset >= next);
    const goesBack = cursor.resume && (next < this.#stored || this.#inFlight.length > 0);
    this.#stored = cursor.resume ? next : Math.max(next, this.#stored);
    if (!goesBack && next <= this.next) return false;
    this.next = next;
    this.from = next;
    this.#inFlight = [];
    return true;
  }

  /** Resolves at the next cursor. */
  heard(): Promise<void> {
    return this.#news.promise;
  }

  /** Resolves with the work, or when the feed ends: a broker that is away takes its time. One call at a time. */
  untilEnded(work: Promise<void>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#release = resolve;
    work.then(resolve, reject);
    return promise;
  }

  /** A signal for one read, aborted when there is a reason to read elsewhere or not at all. */
  interruption(): AbortSignal {
    if (this.#reading.signal.aborted) this.#reading = new AbortController();
    return this.#reading.signal;
  }

  end(): void {
    this.#ended = true;
    this.#release();
    this.#reading.abort(WITHOUT_ERROR);
    this.#news.resolve();
  }
}
