import { type DurationHistogram, durationHistogram, type MetricDefinition, samplesBy } from "@smile/runtime/metrics";
import type { ConsoleCounters } from "./counts.ts";
import type { PlantConsole } from "./service.ts";
import type { RiskStore } from "./store.ts";

/** From closed at the gateway to stored at the console; 10 ms to an hour. Clocks of both have to agree for it. */
export function windowToRiskHistogram(): DurationHistogram {
  const bounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600];
  const help = "From a window closed at the gateway to its risk stored at the console, by both computers' clocks";
  return durationHistogram("smile_plant_console_window_to_risk_seconds", help, bounds);
}

/** The console's figures for Prometheus. Each is read from what it counts anyway. No risk of a machine is among them. */
export function consoleMetrics(parts: {
  readonly console: Pick<PlantConsole, "counters" | "waiting">;
  readonly store: Pick<RiskStore, "openAlerts">;
  /** Wall clock in ms of the last risk that was stored; undefined before the first. */
  readonly lastStoredMs: () => number | undefined;
}): readonly MetricDefinition[] {
  const { console, store, lastStoredMs } = parts;
  const total = (name: string, help: string, read: (counters: ConsoleCounters) => number): MetricDefinition => {
    return { kind: "counter", name: `smile_plant_console_${name}_total`, help, read: () => read(console.counters()) };
  };
  return [
    total("deliveries", "Deliveries received", ({ deliveries }) => deliveries),
    total("deliveries_repeated", "Deliveries behind the cursor, stored before", ({ repeatedDeliveries }) => repeatedDeliveries),
    total("deliveries_early", "Deliveries before which one is missing; they come again", ({ earlyDeliveries }) => earlyDeliveries),
    total("deliveries_malformed", "Payloads that are no delivery", ({ malformed }) => malformed),
    {
      kind: "counter",
      name: "smile_plant_console_deliveries_refused_total",
      help: "Deliveries refused for good, by error code",
      labels: ["code"],
      read: () => samplesBy("code", console.counters().refused),
    },
    total("scores_unknown_lane", "Scores dropped because no lease names their lane", ({ unknownLanes }) => unknownLanes),
    total("scores_revoked", "Scores dropped because the key of their gateway was revoked", ({ revokedWindows }) => revokedWindows),
    total("risks", "Risks stored", ({ risks }) => risks),
    total("risks_duplicate", "Risks that were stored already", ({ duplicates }) => duplicates),
    total("contradictions", "Windows answered again with another score; the first stays", ({ contradictions }) => contradictions),
    total("risks_late", "Risks of windows older than their machine's newest", ({ late }) => late),
    total("gaps", "Gaps that gateways had to leave", ({ gaps }) => gaps),
    total("frames_lost", "Frames missing in those gaps when they were stored", ({ lostFrames }) => lostFrames),
    total("windows_lost", "Windows missing in those gaps when they were stored", ({ lostWindows }) => lostWindows),
    {
      kind: "counter",
      name: "smile_plant_console_alerts_total",
      help: "Alerts raised and cleared",
      labels: ["kind"],
      read: () => {
        const { raised, cleared } = console.counters();
        return samplesBy("kind", { raised, cleared });
      },
    },
    {
      kind: "gauge",
      name: "smile_plant_console_deliveries_waiting",
      help: "Deliveries received and not stored; the service knows what is still to come",
      read: () => console.waiting(),
    },
    {
      kind: "gauge",
      name: "smile_plant_console_open_alerts",
      help: "Alerts that are raised and not cleared",
      read: () => store.openAlerts().length,
    },
    {
      kind: "gauge",
      name: "smile_plant_console_last_stored_timestamp_seconds",
      help: "When the last risk was stored since the start, in seconds since 1970: how far behind the console may be",
      read: () => {
        const ms = lastStoredMs();
        return ms === undefined ? undefined : ms / 1000;
      },
    },
  ];
}
