import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { createGunzip } from "node:zlib";
import { describe, expect, it, vi } from "vitest";
import { type InfluxSinkOptions, openInfluxSink } from "../src/influx-sink.ts";
import { createLogger, silentLogger } from "../src/logging.ts";
import type { Point } from "../src/time-series.ts";

const point = (i: number, machine = "press-7"): Point => ({
  measurement: "smile_machine",
  tags: { plant: "north", machine },
  fields: { risk: i / 8, score: i },
  timeMs: 1_700_000_000_000 + i,
});

type Request = { readonly url: string; readonly token: string | undefined; readonly lines: string[] };

/** A database of which the test decides what it answers. */
class Database implements AsyncDisposable {
  readonly requests: Request[] = [];
  answer: (response: ServerResponse, request: IncomingMessage) => void = (response) => response.writeHead(204).end();
  readonly #server = createServer(async (request, response) => {
    const body = await text(request.headers["content-encoding"] === "gzip" ? request.pipe(createGunzip()) : request).catch(() => "");
    this.requests.push({ url: request.url ?? "", token: request.headers.authorization, lines: body.split("\n") });
    this.answer(response, request);
  });

  static async open(): Promise<Database> {
    const database = new Database();
    database.#server.listen(0, "127.0.0.1");
    await once(database.#server, "listening");
    return database;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get lines(): string[] {
    return this.requests.flatMap(({ lines }) => lines);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

const open = (url: string, options: Partial<InfluxSinkOptions> = {}) =>
  openInfluxSink({
    url,
    org: "plant",
    bucket: "risks",
    logger: silentLogger(),
    flushMs: 10,
    retryMs: { first: 5, last: 20 },
    ...options,
  });

describe("openInfluxSink", () => {
  it("sends points as line protocol, with organisation, bucket and token", async () => {
    await using database = await Database.open();
    await using sink = open(database.url, { token: "t0p", bucket: "risks & alerts" });
    sink.write(point(1, "press 7,a=b\nc"));
    await vi.waitUntil(() => sink.counters.written === 1);
    expect(database.requests).toEqual([
      {
        url: "/api/v2/write?org=plant&bucket=risks%20%26%20alerts&precision=ms",
        token: "Token t0p",
        lines: ["smile_machine,machine=press\\ 7\\,a\\=b\\nc,plant=north risk=0.125,score=1 1700000000001"],
      },
    ]);
  });

  it("sends what waits in requests of 64 KiB at most, in order, without waiting for the next flush", async () => {
    await using database = await Database.open();
    await using sink = open(database.url, { flushMs: 60_000 });
    for (let i = 0; i < 3000; i++) sink.write(point(i));
    await vi.waitUntil(() => sink.counters.written > 2000);
    expect(Math.max(...database.requests.map(({ lines }) => Buffer.byteLength(lines.join("\n"))))).toBeLessThanOrEqual(64 * 1024);
    await sink[Symbol.asyncDispose]();
    expect(database.lines.map((line) => Number(line.split(" ")[2]) - 1_700_000_000_000)).toEqual(Array.from({ length: 3000 }, (_, i) => i));
  });

  it("sends again what failed, until the database takes it", async () => {
    await using database = await Database.open();
    let failures = 3;
    database.answer = (response) => response.writeHead(failures-- > 0 ? 503 : 204).end();
    await using sink = open(database.url);
    sink.write(point(1));
    await vi.waitUntil(() => sink.counters.written === 1);
    expect(sink.counters).toEqual({ written: 1, dropped: 0, refused: 0, failedRequests: 3 });
  });

  it("waits for a bucket or a permission that is not there yet", async () => {
    await using database = await Database.open();
    const answers = [404, 401, 204];
    database.answer = (response) => response.writeHead(answers.shift()!).end();
    await using sink = open(database.url);
    sink.write(point(1));
    await vi.waitUntil(() => sink.counters.written === 1);
  });

  it("counts a batch that is refused for good, and goes on with the next", async () => {
    await using database = await Database.open();
    database.answer = (response) => response.writeHead(database.requests.length === 1 ? 400 : 204).end('{"message":"partial write"}');
    await using sink = open(database.url);
    sink.write(point(1));
    sink.write(point(2));
    await vi.waitUntil(() => sink.counters.refused === 2);
    sink.write(point(3));
    await vi.waitUntil(() => sink.counters.written === 1);
  });

  it("never throws: what cannot be written is counted", async () => {
    await using database = await Database.open();
    await using sink = open(database.url);
    sink.write({ ...point(1), fields: { risk: Number.NaN } });
    sink.write({ ...point(1), fields: {} });
    sink.write({ ...point(1), timeMs: Number.POSITIVE_INFINITY });
    sink.write({ ...point(1), tags: { machine: "press\\" } });
    sink.write({ ...point(1), tags: { machine: "x".repeat(100_000) } });
    expect(sink.counters).toEqual({ written: 0, dropped: 1, refused: 4, failedRequests: 0 });
  });

  it("keeps to its bound while nobody takes anything, and counts what it drops", async () => {
    await using database = await Database.open();
    database.answer = () => {}; // takes the request and never answers
    const sink = open(database.url, { spoolBytes: 64 * 1024, closeMs: 50 });
    let most = 0;
    for (let i = 0; i < 20_000; i++) {
      sink.write(point(i));
      most = Math.max(most, sink.spool.bytes);
    }
    expect(most).toBeLessThanOrEqual(64 * 1024);
    expect(sink.counters.dropped + sink.spool.points).toBe(20_000);
    await sink[Symbol.asyncDispose]();
    expect(sink.counters).toMatchObject({ written: 0, dropped: 20_000 });
    expect(sink.spool).toEqual({ bytes: 0, points: 0 });
  });

  it("sends what waits when it is disposed", async () => {
    await using database = await Database.open();
    const sink = open(database.url, { flushMs: 60_000 });
    sink.write(point(1));
    await sink[Symbol.asyncDispose]();
    expect(database.lines).toHaveLength(1);
    sink.write(point(2));
    expect(sink.counters).toMatchObject({ written: 1, dropped: 1 });
  });

  it("ends in bounded time whatever the database does", async () => {
    await using database = await Database.open();
    database.answer = (response) => response.writeHead(200).write("{"); // an answer without an end
    const sink = open(database.url, { closeMs: 100 });
    sink.write(point(1));
    await vi.waitUntil(() => database.requests.length === 1);
    const beganMs = performance.now();
    await sink[Symbol.asyncDispose]();
    expect(performance.now() - beganMs).toBeLessThan(1000);
  });

  it("logs an outage once, its end, and neither token nor points", async () => {
    await using database = await Database.open();
    let up = false;
    database.answer = (response) => response.writeHead(up ? 204 : 500).end('{"message":"unable to parse press-7"}');
    const lines: string[] = [];
    const to = new Writable({
      write: (chunk, _, done) => {
        lines.push(String(chunk));
        done();
      },
    });
    await using sink = open(database.url, { token: "s3cret", logger: createLogger({ service: "test", to }) });
    sink.write(point(1));
    await vi.waitUntil(() => sink.counters.failedRequests > 2);
    up = true;
    await vi.waitUntil(() => sink.counters.written === 1);
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual([
      "the time-series database takes nothing; keeping what fits",
      "the time-series database answers again",
    ]);
    expect(lines.join("")).not.toMatch(/s3cret|press-7/);
  });
});
