import type { Log } from "@smile/runtime/log";
import { partitionOf } from "@smile/runtime/partition";
import { deliveryCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS, scoresTopic } from "@smile/schemas/topics";
import type { Cursor } from "./cursor.ts";

/** What egress has done since it started; repeats after a plant resumed count again. */
export type EgressCounters = { deliveries: number; bytes: number };

/** Scores that may be on their way to a plant beyond its cursor. */
const WINDOW = 256;
const READ = { maxBytes: 4 * 1024 * 1024, waitMs: 1000 } as const;

/**
 * Scores out of the log to the plants, each from the cursor that the plant keeps. Egress itself keeps nothing: a plant that was away
 * says where it stopped and gets everything since, and one that does not answer gets no more than a window of scores.
 */
export class Egress implements AsyncDisposable {
  readonly counters: EgressCounters = { deliveries: 0, bytes: 0 };
  readonly #log: Log;
  readonly #publish: (topic: string, payload: Uint8Array) => Promise<void>;
  readonly #onFailure: (error: unknown) => void;
  readonly #stop = new AbortController();
  readonly #feeds = new Map<string, Feed>();

  /** @param onFailure called once with what ended a plant's feed, such as a log that fails */
  constructor(log: Log, publish: (topic: string, payload: Uint8Array) => Promise<void>, onFailure: (error: unknown) => void) {
    this.#log = log;
    this.#publish = publish;
    this.#onFailure = onFailure;
  }

  /** Takes a plant's cursor: begins its feed, moves its window on, or rewinds it. */
  cursor(plant: string, cursor: Cursor): void {
    if (this.#stop.signal.aborted) return;
    const feed = this.#feeds.get(plant);
    if (feed !== undefined) {
      feed.hear(cursor);
      return;
    }
    const begun = new Feed(cursor.next ?? 0);
    this.#feeds.set(plant, begun);
    begun.running = this.#feed(plant, begun).catch((error: unknown) => {
      this.#feeds.delete(plant);
      if (!this.#stop.signal.aborted) this.#onFailure(error);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const feed of this.#feeds.values()) feed.interrupt();
    await Promise.all([...this.#feeds.values()].map((feed) => feed.running));
  }

  async #feed(plant: string, feed: Feed): Promise<void> {
    const partitions = (await this.#log.ends(LOG_TOPICS.scores)).length;
    const partition = partitionOf(plant, partitions);
    while (!this.#stop.signal.aborted) {
      const room = WINDOW - feed.inFlight;
      if (room <= 0) {
        await feed.heard();
        continue;
      }
      const from = { topic: LOG_TOPICS.scores, partition, offset: feed.next };
      const generation = feed.generation;
      const records = await this.#log.read(from, { ...READ, maxRecords: room }, feed.interruption());
      for (const record of records) {
        if (feed.generation !== generation) break;
        feed.next = record.offset + 1;
        if (record.key !== plant) continue;
        feed.sent(record.offset);
        const payload = deliveryCodec.encode({ partition, offset: record.offset, score: record.value });
        await this.#publish(scoresTopic(plant), payload);
        this.counters.deliveries += 1;
        this.counters.bytes += payload.length;
      }
    }
  }
}

/** Where one plant's feed stands. */
class Feed {
  next: number;
  /** Counts the rewinds: what was read before one is not sent after it. */
  generation = 0;
  running: Promise<void> = Promise.resolve();
  #offsets: number[] = [];
  #news = Promise.withResolvers<void>();
  #reading = new AbortController();

  constructor(next: number) {
    this.next = next;
  }

  get inFlight(): number {
    return this.#offsets.length;
  }

  sent(offset: number): void {
    this.#offsets.push(offset);
  }

  hear({ next, resume }: Cursor): void {
    const from = next ?? 0;
    this.#offsets = resume ? [] : this.#offsets.filter((offset) => offset >= from);
    if (resume) {
      this.next = from;
      this.generation += 1;
      this.interrupt();
    }
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  /** Resolves at the next cursor. */
  heard(): Promise<void> {
    return this.#news.promise;
  }

  /** A signal for one read, aborted when there is a reason to read elsewhere or not at all. */
  interruption(): AbortSignal {
    if (this.#reading.signal.aborted) this.#reading = new AbortController();
    return this.#reading.signal;
  }

  interrupt(): void {
    this.#reading.abort();
    this.#news.resolve();
  }
}
