import { type MetricDefinition, samplesBy } from "@smile/runtime/metrics";
import type { SegmentConsole } from "./segment-console.ts";
import type { SegmentCounters } from "./segment-counts.ts";

/** The figures of a console of jobs for Prometheus: no size of any group is among them. */
export function segmentConsoleMetrics(console: Pick<SegmentConsole, "counters" | "waiting">): readonly MetricDefinition[] {
  const total = (name: string, help: string, read: (counters: SegmentCounters) => number): MetricDefinition => {
    return { kind: "counter", name: `smile_segment_console_${name}_total`, help, read: () => read(console.counters()) };
  };
  return [
    total("deliveries", "Deliveries received", ({ deliveries }) => deliveries),
    total("deliveries_repeated", "Deliveries behind the cursor, stored before", ({ repeatedDeliveries }) => repeatedDeliveries),
    total("deliveries_early", "Deliveries before which one is missing; they come again", ({ earlyDeliveries }) => earlyDeliveries),
    total("deliveries_malformed", "Payloads that are no delivery", ({ malformed }) => malformed),
    {
      kind: "counter",
      name: "smile_segment_console_deliveries_refused_total",
      help: "Deliveries refused for good, by error code",
      labels: ["code"],
      read: () => samplesBy("code", console.counters().refused),
    },
    total("records", "Records whose segment was stored", ({ records }) => records),
    total("records_duplicate", "Records that were answered again as they were", ({ duplicates }) => duplicates),
    total("contradictions", "Records answered again with another segment; the first stays", ({ contradictions }) => contradictions),
    total("records_revoked", "Records dropped because the key of their gateway was revoked", ({ revokedRecords }) => revokedRecords),
    total("scores_deleted_job", "Scores dropped because their job was deleted", ({ deletedScores }) => deletedScores),
    {
      kind: "gauge",
      name: "smile_segment_console_deliveries_waiting",
      help: "Deliveries received and not stored; the service knows what is still to come",
      read: () => console.waiting(),
    },
    {
      kind: "gauge",
      name: "smile_segment_console_last_stored_timestamp_seconds",
      help: "When the last segment was stored since the start, in seconds since 1970",
      read: () => {
        const { lastStoredMs } = console.counters();
        return lastStoredMs === undefined ? undefined : lastStoredMs / 1000;
      },
    },
  ];
}
