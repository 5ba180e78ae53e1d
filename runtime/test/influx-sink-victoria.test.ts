import { expect, it, vi } from "vitest";
import { writeFigures } from "../src/figures.ts";
import { openInfluxSink } from "../src/influx-sink.ts";
import { silentLogger } from "../src/logging.ts";
import { Metrics } from "../src/metrics.ts";
import { hasVictoriaMetrics, mustHaveBrokers, VictoriaMetrics } from "./victoria-metrics.ts";

const begunMs = Date.UTC(2026, 0, 1);
const risk = (i: number) => ({
  measurement: "smile_machine",
  tags: { plant: "north", machine: `press ${i % 10}` },
  fields: { risk: i / 4096, score: i },
  timeMs: begunMs + i * 1000,
});

const settings = { org: "plant", bucket: "smile", logger: silentLogger(), flushMs: 20, retryMs: { first: 10, last: 50 } };

if (!hasVictoriaMetrics && !mustHaveBrokers) {
  it.skip("DID NOT RUN: writes to a real VictoriaMetrics (apt-get install victoria-metrics)", () => {});
} else {
  it("stores in a real VictoriaMetrics what was written, value by value", async () => {
    await using database = await VictoriaMetrics.open();
    await using sink = openInfluxSink({ url: database.url, ...settings });
    for (let i = 0; i < 1000; i++) sink.write(risk(i));
    await vi.waitUntil(() => sink.counters.written === 1000, { timeout: 10_000 });
    const stored = await database.seriesWith(2000, /smile_machine_(risk|score)/);
    const read = stored.flatMap(({ metric, values, timestamps }) =>
      values.map((value, i) => `${metric.__name__} ${metric.plant} ${metric.machine} ${value} ${timestamps[i]! - begunMs}`),
    );
    const expected = Array.from({ length: 1000 }, (_, i) => [
      `smile_machine_risk north press ${i % 10} ${i / 4096} ${i * 1000}`,
      `smile_machine_score north press ${i % 10} ${i} ${i * 1000}`,
    ]).flat();
    expect(read.toSorted()).toEqual(expected.toSorted());
  });

  it("keeps the newest points within its bound while the database is away, delivers them once it is back, and counts the rest", async () => {
    await using database = await VictoriaMetrics.open();
    await using sink = openInfluxSink({ url: database.url, ...settings, spoolBytes: 256 * 1024 });
    for (let i = 0; i < 100; i++) sink.write(risk(i));
    await vi.waitUntil(() => sink.counters.written === 100, { timeout: 10_000 });

    await database.stop();
    let most = 0;
    let longestMs = 0;
    for (let i = 100; i < 20_100; i++) {
      const beganMs = performance.now();
      sink.write(risk(i));
      longestMs = Math.max(longestMs, performance.now() - beganMs);
      most = Math.max(most, sink.spool.bytes);
      // The sink gets its turns, and fails in them.
      if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.waitUntil(() => sink.counters.failedRequests > 0, { timeout: 10_000 });
    expect(most).toBeLessThanOrEqual(256 * 1024);
    expect(longestMs).toBeLessThan(200); // a garbage collection, at most
    const { dropped } = sink.counters;
    expect(dropped).toBeGreaterThan(10_000);
    expect(dropped + sink.spool.points).toBe(20_000);

    await database.start();
    await vi.waitUntil(() => sink.spool.points === 0, { timeout: 10_000 });
    expect(sink.counters).toMatchObject({ written: 20_100 - dropped, dropped, refused: 0 });
    const scores = (await database.seriesWith(20_100 - dropped, /smile_machine_score/))
      .flatMap(({ values }) => values)
      .toSorted((a, b) => a - b);
    expect(new Set(scores).size).toBe(20_100 - dropped);
    expect(scores.slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    // The newest of them without a hole, but for a quarter of the bound: a segment that was on its way when the database went.
    const newest = Math.floor((20_000 - dropped) * 0.6);
    expect(scores.slice(-newest)).toEqual(Array.from({ length: newest }, (_, i) => 20_100 - newest + i));
  });

  it("starts before its database does", async () => {
    await using database = await VictoriaMetrics.open(false);
    await using sink = openInfluxSink({ url: database.url, ...settings });
    sink.write(risk(1));
    await vi.waitUntil(() => sink.counters.failedRequests > 0, { timeout: 10_000 });
    await database.start();
    await vi.waitUntil(() => sink.counters.written === 1, { timeout: 10_000 });
  });

  it("stores a service's figures under the names that Prometheus sees, the last ones included", async () => {
    await using database = await VictoriaMetrics.open();
    const counters = { rows: 1 };
    const metrics = new Metrics();
    metrics.add([{ kind: "counter", name: "smile_edge_agent_rows_total", help: "Rows", read: () => counters.rows }]);
    {
      await using sink = openInfluxSink({ url: database.url, ...settings });
      const tags = { service: "edge-agent", instance: "hall-1" };
      await using _figures = writeFigures({
        metrics,
        timeSeries: sink,
        prefix: "smile_edge_agent",
        tags,
        everyMs: 10,
        logger: silentLogger(),
      });
      await vi.waitUntil(() => sink.counters.written > 0, { timeout: 10_000 });
      counters.rows = 42;
    }
    const look = async () => {
      const [stored, ...others] = await database.series(/smile_.*/);
      expect(others).toEqual([]);
      expect(stored?.metric).toMatchObject({ __name__: "smile_edge_agent_rows_total", service: "edge-agent", instance: "hall-1" });
      expect(stored?.values.at(0)).toBe(1);
      // Not the last one: of two points of one millisecond the database tells no order.
      expect(stored?.values).toContain(42);
    };
    await vi.waitFor(look, { timeout: 10_000, interval: 50 });
  });
}
