import { describe, expect, it } from "vitest";
import { toPoints, writeFigures } from "../src/figures.ts";
import { silentLogger } from "../src/logging.ts";
import { durationHistogram, Metrics, samplesBy } from "../src/metrics.ts";
import { processMetrics } from "../src/process-metrics.ts";
import type { Point } from "../src/time-series.ts";

/** Values of the Prometheus text by series. */
async function series(metrics: Metrics): Promise<Record<string, string>> {
  const lines = (await metrics.expose()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]));
}

describe("Metrics", () => {
  it("reads the counters of a service whenever somebody asks", async () => {
    const counters = { rows: 3, refused: { FRAME_MALFORMED: 1 } as Record<string, number> };
    const metrics = new Metrics();
    metrics.add([
      { kind: "counter", name: "smile_test_rows_total", help: "Rows", read: () => counters.rows },
      {
        kind: "counter",
        name: "smile_test_refused_total",
        help: "Refused",
        labels: ["code"],
        read: () => samplesBy("code", counters.refused),
      },
      { kind: "gauge", name: "smile_test_depth", help: "Depth", read: async () => 7 },
    ]);
    expect(await series(metrics)).toEqual({
      smile_test_rows_total: "3",
      'smile_test_refused_total{code="FRAME_MALFORMED"}': "1",
      smile_test_depth: "7",
    });
    counters.rows = 5;
    counters.refused.KEY_UNKNOWN = 2;
    expect(await series(metrics)).toEqual({
      smile_test_rows_total: "5",
      'smile_test_refused_total{code="FRAME_MALFORMED"}': "1",
      'smile_test_refused_total{code="KEY_UNKNOWN"}': "2",
      smile_test_depth: "7",
    });
  });

  it("leaves out what cannot be read, hangs, or is no number, and tells the rest", async () => {
    const metrics = new Metrics({ readWithinMs: 20 });
    const gauge = (name: string, read: () => number | undefined | Promise<number>) => ({ kind: "gauge", name, help: name, read }) as const;
    metrics.add([
      gauge("rejects", () => Promise.reject(new Error("the log is away"))),
      gauge("throws", () => {
        throw new Error("closed");
      }),
      gauge("hangs", () => new Promise(() => {})),
      gauge("unknown", () => undefined),
      gauge("no_number", () => Number.NaN),
      gauge("works", () => 1),
      { kind: "counter", name: "broken_total", help: "Broken", read: () => Promise.reject(new Error("away")) },
    ]);
    expect(await series(metrics)).toEqual({ works: "1" });
  });

  it("drops a figure that was there before and cannot be read any more", async () => {
    let lag: number | undefined = 4;
    const metrics = new Metrics();
    metrics.add([{ kind: "gauge", name: "lag", help: "Lag", read: () => lag }]);
    expect(await series(metrics)).toEqual({ lag: "4" });
    lag = undefined;
    expect(await series(metrics)).toEqual({});
  });

  it("drops every series of a figure with labels that cannot be read any more, and goes on", async () => {
    let lags: Record<string, number> | undefined = { north: 4, south: 2 };
    const read = () => lags && samplesBy("plant", lags);
    const metrics = new Metrics();
    metrics.add([
      { kind: "gauge", name: "lag", help: "Lag", labels: ["plant"], read },
      { kind: "counter", name: "lag_total", help: "Lag", labels: ["plant"], read },
      { kind: "gauge", name: "works", help: "Works", read: () => 1 },
    ]);
    expect(Object.keys(await series(metrics))).toHaveLength(5);
    lags = undefined;
    expect(await series(metrics)).toEqual({ works: "1" });
    expect(await metrics.figures()).toEqual([{ name: "works", labels: {}, value: 1 }]);
  });

  it("gives the right figures to two who ask at once", async () => {
    const metrics = new Metrics();
    let value = 0;
    metrics.add([{ kind: "counter", name: "asked_total", help: "Asked", read: async () => ++value && 10 }]);
    const [text, figures] = await Promise.all([metrics.expose(), metrics.figures()]);
    expect(text).toContain("asked_total 10\n");
    expect(figures).toEqual([{ name: "asked_total", labels: {}, value: 10 }]);
  });

  it("keeps the figures of two services of one process apart", async () => {
    const [one, other] = [new Metrics(), new Metrics()];
    for (const [i, metrics] of [one, other].entries()) metrics.add([{ kind: "gauge", name: "same", help: "Same", read: () => i }]);
    expect(await series(one)).toEqual({ same: "0" });
    expect(await series(other)).toEqual({ same: "1" });
  });

  it("counts durations in buckets, and those of clocks that disagree as nothing", async () => {
    const histogram = durationHistogram("took_seconds", "Took", [0.1, 1]);
    const metrics = new Metrics();
    metrics.add([histogram]);
    for (const seconds of [-3, 0.05, 0.5, 5]) histogram.observe(seconds);
    expect(await series(metrics)).toEqual({
      'took_seconds_bucket{le="0.1"}': "2",
      'took_seconds_bucket{le="1"}': "3",
      'took_seconds_bucket{le="+Inf"}': "4",
      took_seconds_sum: "5.55",
      took_seconds_count: "4",
    });
  });

  it("tells what every process tells", async () => {
    const metrics = new Metrics();
    metrics.add(processMetrics());
    const values = await series(metrics);
    expect(Object.keys(values).toSorted()).toEqual(
      processMetrics()
        .map(({ name }) => name)
        .toSorted(),
    );
    expect(Number(values.process_resident_memory_bytes)).toBeGreaterThan(10e6);
    expect(Number(values.process_start_time_seconds)).toBeCloseTo(Date.now() / 1000, -3);
  });
});

describe("toPoints", () => {
  it("makes a field of each figure, so that measurement and field together are the name that Prometheus sees", () => {
    const figures = [
      { name: "smile_edge_agent_rows_total", labels: {}, value: 3 },
      { name: "smile_edge_agent_refused_total", labels: { reason: "malformed" }, value: 1 },
      { name: "smile_edge_agent_windows_total", labels: {}, value: 2 },
      { name: "process_cpu_seconds_total", labels: {}, value: 0.5 },
    ];
    const points = toPoints(figures, "smile_edge_agent", { plant: "north" }, 1700);
    expect(points).toEqual([
      { measurement: "smile_edge_agent", tags: { plant: "north" }, fields: { rows_total: 3, windows_total: 2 }, timeMs: 1700 },
      { measurement: "smile_edge_agent", tags: { plant: "north", reason: "malformed" }, fields: { refused_total: 1 }, timeMs: 1700 },
      { measurement: "process", tags: { plant: "north" }, fields: { cpu_seconds_total: 0.5 }, timeMs: 1700 },
    ]);
  });
});

it("does not end a service whose figures cannot be told", async () => {
  const metrics = new Metrics();
  metrics.add([{ kind: "counter", name: "wrong_total", help: "Less than nothing", read: () => -1 }]);
  const points: Point[] = [];
  const timeSeries = { write: (point: Point) => void points.push(point), [Symbol.asyncDispose]: async () => {} };
  const figures = writeFigures({ metrics, timeSeries, prefix: "smile_test", tags: {}, everyMs: 60_000, logger: silentLogger() });
  await expect(figures[Symbol.asyncDispose]()).resolves.toBeUndefined();
  expect(points).toEqual([]);
});
