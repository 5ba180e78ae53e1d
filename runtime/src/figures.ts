import type { Logger } from "./logging.ts";
import type { Metrics } from "./metrics.ts";
import type { Point, TimeSeries } from "./time-series.ts";

/**
 * Metrics as points: `smile_edge_agent_rows_total` becomes field `rows_total` of measurement `smile_edge_agent`. Joined by "_", as
 * VictoriaMetrics does it, that is the name which Prometheus sees. Metrics with the same labels share a point.
 * @param prefix of the service's own metrics; of others the part before the first "_" is the measurement
 */
export function toPoints(
  figures: Awaited<ReturnType<Metrics["figures"]>>,
  prefix: string,
  tags: Readonly<Record<string, string>>,
  timeMs: number,
): readonly Point[] {
  const points = new Map<string, { measurement: string; tags: Record<string, string>; fields: Record<string, number>; timeMs: number }>();
  for (const { name, labels, value } of figures) {
    const end = name.startsWith(`${prefix}_`) ? prefix.length : name.indexOf("_");
    const measurement = name.slice(0, Math.max(0, end));
    const id = JSON.stringify([measurement, Object.entries(labels).toSorted()]);
    const point = points.get(id) ?? { measurement, tags: { ...labels, ...tags }, fields: {}, timeMs };
    point.fields[name.slice(measurement.length + 1)] = value;
    points.set(id, point);
  }
  return [...points.values()];
}

/** Writes a service's metrics to the time series every so often, and once more when it is disposed. What goes wrong is logged and ends nothing. */
export function writeFigures(options: {
  readonly metrics: Metrics;
  readonly timeSeries: TimeSeries;
  readonly prefix: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly everyMs: number;
  readonly logger: Logger;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: () => number;
}): AsyncDisposable {
  const { metrics, timeSeries, prefix, tags, everyMs, logger, now = Date.now } = options;
  let writing: Promise<void> | undefined;
  const write = async () => {
    try {
      const figures = await metrics.figures();
      for (const point of toPoints(figures, prefix, tags, now())) timeSeries.write(point);
    } catch (error) {
      logger.error({ err: error }, "figures could not be read");
    }
  };
  const timer = setInterval(() => {
    writing ??= write().finally(() => {
      writing = undefined;
    });
  }, everyMs).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await writing;
      await write();
    },
  };
}
