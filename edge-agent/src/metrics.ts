import { type MetricDefinition, samplesBy } from "@smile/runtime/metrics";
import type { BrokerTls } from "./broker-tls.ts";
import type { EdgeAgent } from "./service.ts";
import type { Reloads } from "./watched-files.ts";

/** The agent's figures for Prometheus. Each is read from what the agent counts anyway. */
export function agentMetrics(agent: Pick<EdgeAgent, "counters" | "spool">): readonly MetricDefinition[] {
  const { counters } = agent;
  const total = (name: string, help: string, read: () => number): MetricDefinition => {
    return { kind: "counter", name: `smile_edge_agent_${name}_total`, help, read };
  };
  const gauge = (name: string, help: string, read: () => number): MetricDefinition => {
    return { kind: "gauge", name: `smile_edge_agent_${name}`, help, read };
  };
  return [
    total("rows", "Rows taken from the source, whatever became of them", () => counters.rows),
    total("rows_replayed", "Rows that the source sent again after a restart of the agent", () => counters.replayed),
    total("rows_late", "Rows that came after their windows were out", () => counters.late),
    total("rows_duplicate", "Rows whose machine and time had come already", () => counters.duplicate),
    {
      kind: "counter",
      name: "smile_edge_agent_rows_refused_total",
      help: "Rows refused, by reason",
      labels: ["reason"],
      read: () => [
        { labels: { reason: "malformed" }, value: counters.refused.malformed },
        { labels: { reason: "unknown_machine" }, value: counters.refused.unknownMachine },
        { labels: { reason: "unusable" }, value: counters.refused.unusable },
      ],
    },
    total("windows", "Windows lifted", () => counters.windows),
    total("windows_framed", "Windows in frames that were committed to the spool", () => counters.framedWindows),
    total("windows_abandoned", "Open windows given up because their machine left the lease", () => counters.abandoned),
    total("features_clipped", "Features that were clipped to a bound", () => counters.clipped),
    total("frames", "Frames committed to the spool", () => counters.frames),
    total("frames_published", "Frames that the broker acknowledged", () => counters.published),
    total("frames_published_bytes", "Bytes of frames that the broker acknowledged", () => counters.publishedBytes),
    total("frames_quarantined", "Frames that no broker can take, kept aside", () => counters.quarantined),
    total("frames_dropped", "Frames that the spool's bounds made go", () => counters.droppedFrames),
    total("windows_dropped", "Windows in those frames", () => counters.droppedWindows),
    total("gaps_published", "Gaps that the broker acknowledged", () => counters.gapsPublished),
    total("stores_damaged", "Stores that were damaged and put aside", () => counters.damagedStores),
    total("commits", "Commits to the store", () => counters.commits),
    total("commits_retried", "Commits to the store that had to be tried again", () => counters.commitRetries),
    gauge("spool_frames", "Frames that wait for their acknowledgement: the agent's lag", () => agent.spool.frames),
    gauge("spool_bytes", "Bytes of frames that wait for their acknowledgement", () => agent.spool.bytes),
  ];
}

/**
 * Figures on the keys and the certificate of an agent.
 * @param reloads by the name of what was read anew
 * @param tls absent for an agent without TLS
 */
export function keyMetrics(
  reloads: Readonly<Record<string, Readonly<Reloads>>>,
  tls: Pick<BrokerTls, "endsMs" | "renewals"> | undefined,
  now: () => number = Date.now,
): readonly MetricDefinition[] {
  return [
    {
      kind: "counter",
      name: "smile_edge_agent_keys_reloaded_total",
      help: "Times that changed files of a key, or of the certificate, were taken in while running",
      labels: ["files"],
      read: () => samplesBy("files", { ...byName(({ taken }) => taken), ...(tls && { tls: tls.renewals }) }),
    },
    {
      kind: "counter",
      name: "smile_edge_agent_keys_refused_total",
      help: "Times that changed files of a key were refused: what was in force before stayed",
      labels: ["files"],
      read: () =>
        samplesBy(
          "files",
          byName(({ refused }) => refused),
        ),
    },
    {
      kind: "gauge",
      name: "smile_edge_agent_certificate_remaining_seconds",
      help: "Time until the gateway's certificate ends; negative once it has ended; absent without TLS",
      read: () => (tls === undefined ? undefined : (tls.endsMs - now()) / 1000),
    },
  ];

  function byName(count: (reloads: Readonly<Reloads>) => number): Record<string, number> {
    return Object.fromEntries(Object.entries(reloads).map(([name, each]) => [name, count(each)]));
  }
}
