import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { HttpError, InfluxDB, Point as LinePoint, type WriteApi } from "@influxdata/influxdb-client";
import { LineSpool } from "./line-spool.ts";
import type { Logger } from "./logging.ts";
import type { Point, TimeSeries } from "./time-series.ts";
import { requireTlsUrl } from "./tls-config.ts";

export type InfluxSinkOptions = {
  /** `http://host:port` or `https://host:port`, with a path before `/api/v2` where a proxy asks for one. */
  readonly url: string;
  readonly org: string;
  readonly bucket: string;
  readonly token?: string | undefined;
  /** `WITHOUT_TLS`, to send the token beyond this machine by `http:` all the same. */
  readonly withoutTls?: string | undefined;
  readonly logger: Logger;
  /** A point waits this long at most until it is sent; default 1,000 ms. */
  readonly flushMs?: number;
  /** Bytes of line protocol that are kept while the database is away; default 16 MiB. */
  readonly spoolBytes?: number;
  /** How long dispose goes on sending; default 2,000 ms. */
  readonly closeMs?: number;
  /** Silence of the database that ends a request; default 5,000 ms. */
  readonly timeoutMs?: number;
  /** Waits after failed requests: doubled from the first to the last, less up to a half at random. Default 500 ms to 30 s. */
  readonly retryMs?: { readonly first: number; readonly last: number };
};

/** Since the start. Every point that was written ends in one of the first three, or waits. */
export type InfluxSinkCounters = {
  /** Acknowledged by the database. */
  written: number;
  /** Lost: no room while the database was away, or no time at the end. */
  dropped: number;
  /** Refused for good: by the database (a whole batch), or here because a value is no number or a tag cannot be written. */
  refused: number;
  /** Requests that failed and were tried again. */
  failedRequests: number;
};

export interface InfluxSink extends TimeSeries {
  readonly counters: Readonly<InfluxSinkCounters>;
  /** What waits or is being sent. */
  readonly spool: { readonly bytes: number; readonly points: number };
}

/** One request at most; the database's time for it stays small, and so does what one refusal costs. */
const requestBytes = 64 * 1024;
/** 400, 413 and 422: these lines, sent again, would be refused again. Any other failure may pass, even a bucket that is not there yet. */
const refusals = new Set([400, 413, 422]);

/**
 * Writes points to InfluxDB 2, or to whatever takes its line protocol at `/api/v2/write` (VictoriaMetrics, InfluxDB 3). Points are kept
 * in memory within bounds and sent in the background, one request at a time, again and again while the database is away; the oldest
 * are dropped and counted. What waits when the process dies is lost.
 * @throws {PipelineError} TLS_REQUIRED for a token that would go beyond this machine by `http:`
 */
export function openInfluxSink(options: InfluxSinkOptions): InfluxSink {
  if (options.token !== undefined) requireTlsUrl(options.url, options.withoutTls, "timeSeries.url");
  return new Sink(options);
}

class Sink implements InfluxSink {
  readonly counters: InfluxSinkCounters = { written: 0, dropped: 0, refused: 0, failedRequests: 0 };
  readonly #options: InfluxSinkOptions;
  readonly #spool: LineSpool;
  readonly #agent: HttpAgent;
  readonly #writer: WriteApi;
  readonly #stop = new AbortController();
  readonly #sending: Promise<void>;
  #full = Promise.withResolvers<void>();
  #isAway = false;
  #failures = 0;
  #disposed: Promise<void> | undefined;

  constructor(options: InfluxSinkOptions) {
    this.#options = options;
    const spoolBytes = options.spoolBytes ?? 16 * 1024 * 1024;
    this.#spool = new LineSpool(spoolBytes, Math.min(requestBytes, Math.floor(spoolBytes / 4)));
    // An agent of its own: ending it ends what is under way.
    this.#agent = new (options.url.startsWith("https:") ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 });
    const { url, token, org, bucket, timeoutMs = 5000 } = options;
    const client = new InfluxDB({
      url,
      timeout: timeoutMs,
      transportOptions: { agent: this.#agent },
      ...(token === undefined ? {} : { token }),
    });
    this.#writer = client.getWriteApi(org, bucket, "ms", {
      // Batches, waits and repetitions are ours: the client would keep lines without a bound in bytes, and print to the console.
      // For it a whole request is one record, and the second would be too many: it sends when it is flushed, and only then.
      batchSize: 2,
      maxBatchBytes: 2 * requestBytes,
      flushInterval: 0,
      maxRetries: 0,
      writeFailed: (error) => Promise.reject(error),
    });
    this.#sending = this.#sendForever();
  }

  get spool() {
    return { bytes: this.#spool.bytes, points: this.#spool.lines };
  }

  write(point: Point): void {
    const line = toLine(point);
    if (line === undefined) {
      this.counters.refused++;
      return;
    }
    if (this.#disposed !== undefined) {
      this.counters.dropped++;
      return;
    }
    this.counters.dropped += this.#spool.add(line);
    if (this.#spool.hasFull) this.#full.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#close();
    return this.#disposed;
  }

  async #close(): Promise<void> {
    const { closeMs = 2000, logger } = this.#options;
    const timeIsUp = setTimeout(() => this.#agent.destroy(), closeMs);
    const untilMs = performance.now() + closeMs;
    this.#stop.abort();
    this.#full.resolve();
    await this.#sending;
    while (performance.now() < untilMs && (await this.#sendOldest()) === "sent");
    clearTimeout(timeIsUp);
    this.#agent.destroy();
    this.#writer.dispose();
    const left = this.#spool.lines;
    while (this.#spool.take()) this.#spool.remove();
    this.counters.dropped += left;
    if (this.counters.dropped > 0) logger.warn({ ...this.counters }, "points for the time series were lost");
  }

  async #sendForever(): Promise<void> {
    const { flushMs = 1000, retryMs: { first, last } = { first: 500, last: 30_000 } } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      if (!this.#spool.hasFull) {
        this.#full = Promise.withResolvers<void>();
        await Promise.race([this.#pause(flushMs), this.#full.promise]);
      }
      let outcome: Outcome = "sent";
      while (outcome === "sent" && !signal.aborted) outcome = await this.#sendOldest();
      if (outcome !== "away") continue;
      const waitMs = Math.min(last, first * 2 ** Math.min(20, this.#failures - 1));
      await this.#pause(waitMs * (1 - Math.random() / 2));
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => {});
  }

  async #sendOldest(): Promise<Outcome> {
    const segment = this.#spool.take();
    if (segment === undefined) return "empty";
    try {
      this.#writer.writeRecord(segment.text);
      await this.#writer.flush();
    } catch (error) {
      return this.#failed(segment.lines, error);
    }
    this.counters.written += segment.lines;
    this.#spool.remove();
    if (this.#isAway) this.#options.logger.info({ ...this.counters }, "the time-series database answers again");
    this.#isAway = false;
    this.#failures = 0;
    return "sent";
  }

  #failed(points: number, error: unknown): Outcome {
    const { logger } = this.#options;
    // Not the error itself: it may quote what was sent.
    const status = error instanceof HttpError ? error.statusCode : undefined;
    const code = (error as { code?: unknown }).code;
    if (status !== undefined && refusals.has(status)) {
      this.counters.refused += points;
      this.#spool.remove();
      logger.warn({ status, points, refused: this.counters.refused }, "the time-series database refused points");
      return "sent";
    }
    this.counters.failedRequests++;
    this.#failures++;
    this.#spool.putBack();
    if (!this.#isAway) logger.warn({ status, code }, "the time-series database takes nothing; keeping what fits");
    this.#isAway = true;
    return "away";
  }
}

/** `sent` also for what was refused for good: it is dealt with. */
type Outcome = "sent" | "empty" | "away";

/** @returns the point in line protocol; undefined for one that cannot be written in it */
function toLine({ measurement, tags, fields, timeMs }: Point): string | undefined {
  try {
    const point = new LinePoint(measurement).timestamp(Math.round(timeMs));
    for (const [name, value] of Object.entries(tags)) {
      if (value.endsWith("\\")) return undefined; // line protocol would take it for the escape of what follows
      point.tag(name, value);
    }
    for (const [name, value] of Object.entries(fields)) point.floatField(name, value);
    return Number.isFinite(timeMs) ? point.toLineProtocol({ convertTime: String }) : undefined;
  } catch {
    return undefined;
  }
}
