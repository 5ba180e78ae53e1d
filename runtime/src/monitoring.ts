import { hostname } from "node:os";
import { writeFigures } from "./figures.ts";
import { type Conditions, type HealthServer, startHealthServer } from "./health-server.ts";
import { type InfluxSink, openInfluxSink } from "./influx-sink.ts";
import type { Logger } from "./logging.ts";
import { type DurationHistogram, type MetricDefinition, Metrics } from "./metrics.ts";
import { type MonitoringSettings, readToken } from "./monitoring-config.ts";
import { processMetrics } from "./process-metrics.ts";
import type { TimeSeries } from "./time-series.ts";
import { watchTlsFiles } from "./tls-files.ts";

/** What a running service shows of itself. */
export type Watched = {
  /** Rejects with what ended the work. */
  readonly done: Promise<void>;
  /** What it needs, and whether it has it. */
  readonly conditions: () => Conditions | Promise<Conditions>;
  readonly metrics: readonly (MetricDefinition | DurationHistogram)[];
};

export interface Monitoring extends AsyncDisposable {
  /** Where the service may write more than its figures; undefined when it is not configured. */
  readonly timeSeries: TimeSeries | undefined;
  /** Where health and metrics are served; undefined when that is not configured. */
  readonly url: string | undefined;
  /** Called once, when the service has started. Until then it is alive and not ready. */
  watch(service: Watched): void;
}

/**
 * Opens what the `health` and `timeSeries` sections of a configuration ask for. Open it before the service and dispose of it after: so
 * it tells that the service is starting or stopping, and its last figures are the final ones.
 * @param options.tags of the service's figures in the time series, such as its plant
 * @param options.stopping aborted when the service was asked to stop: from then on it is not ready
 * @throws {PipelineError} CONFIG_INVALID, FILE_MISSING, FILE_DAMAGED, CERTIFICATE_INVALID; TLS_REQUIRED for health beyond this machine
 *   without TLS, and for a token that would go there by `http:`
 */
export async function openMonitoring(options: {
  readonly service: string;
  readonly settings: MonitoringSettings;
  /** That relative paths start from. */
  readonly folder: string;
  readonly logger: Logger;
  readonly tags?: Readonly<Record<string, string>>;
  readonly stopping: AbortSignal;
}): Promise<Monitoring> {
  const { service, settings, folder, stopping } = options;
  const logger = options.logger.child({ part: "monitoring" });
  const metrics = new Metrics();
  metrics.add(processMetrics());
  let watched: Watched | undefined;
  let failed = false;

  await using opened = new AsyncDisposableStack();
  let health: HealthServer | undefined;
  if (settings.health) {
    const { tls, ...listen } = settings.health;
    health = opened.use(
      await startHealthServer({
        ...listen,
        tls: tls && opened.use(watchTlsFiles({ settings: tls, folder, logger, what: "health.tls" })),
        service,
        logger,
        metrics,
        isAlive: () => !failed,
        conditions: async () => ({
          started: watched !== undefined,
          "not stopping": !stopping.aborted,
          "not failed": !failed,
          ...(await watched?.conditions()),
        }),
      }),
    );
  }
  let timeSeries: InfluxSink | undefined;
  if (settings.timeSeries) {
    const { instance = hostname(), figuresMs, ...database } = settings.timeSeries;
    timeSeries = opened.use(openInfluxSink({ ...database, token: readToken(settings.timeSeries, folder), logger }));
    metrics.add(timeSeriesMetrics(timeSeries));
    const tags = { ...options.tags, service, instance };
    opened.use(writeFigures({ metrics, timeSeries, prefix: `smile_${service.replaceAll("-", "_")}`, tags, everyMs: figuresMs, logger }));
  }
  const owned = opened.move();
  return {
    timeSeries,
    url: health?.url,
    watch(started) {
      watched = started;
      metrics.add(started.metrics);
      started.done.catch(() => {
        failed = true;
      });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Figures of the way to the time-series database itself. */
export function timeSeriesMetrics(sink: Pick<InfluxSink, "counters" | "spool">): readonly MetricDefinition[] {
  const { counters } = sink;
  return [
    {
      kind: "counter",
      name: "smile_time_series_points_written_total",
      help: "Points that the time-series database acknowledged",
      read: () => counters.written,
    },
    {
      kind: "counter",
      name: "smile_time_series_points_dropped_total",
      help: "Points lost because the database was away for longer than the spool lasts",
      read: () => counters.dropped,
    },
    {
      kind: "counter",
      name: "smile_time_series_points_refused_total",
      help: "Points that the database refused or that cannot be written",
      read: () => counters.refused,
    },
    {
      kind: "counter",
      name: "smile_time_series_requests_failed_total",
      help: "Requests to the database that failed and were tried again",
      read: () => counters.failedRequests,
    },
    {
      kind: "gauge",
      name: "smile_time_series_spool_bytes",
      help: "Bytes of points that wait for the database",
      read: () => sink.spool.bytes,
    },
  ];
}
