import { readFileSync } from "node:fs";
import { join } from "node:path";
import { zeroCounters } from "@smile/edge-agent/counters";
import { scheduleMetrics } from "@smile/edge-agent/jobs/schedule-metrics";
import { agentMetrics, keyMetrics } from "@smile/edge-agent/metrics";
import { modelServiceMetrics, scoringHistogram } from "@smile/model-service/metrics";
import { consoleMetrics, windowToRiskHistogram } from "@smile/plant-console/metrics";
import { segmentConsoleMetrics } from "@smile/plant-console/segments/segment-metrics";
import { type DurationHistogram, type MetricDefinition, Metrics } from "@smile/runtime/metrics";
import { timeSeriesMetrics } from "@smile/runtime/monitoring";
import { plantRegistryMetrics } from "@smile/runtime/plant-registry-metrics";
import { processMetrics } from "@smile/runtime/process-metrics";
import { processorMetrics } from "@smile/stream-processor/metrics";
import { expect, it } from "vitest";
import { ROOT } from "./support/smile-process.ts";

const none = {} as never;
const services: Record<string, readonly (MetricDefinition | DurationHistogram)[]> = {
  smile_edge_agent_: [...agentMetrics({ counters: zeroCounters(), spool: { frames: 0, bytes: 0 } }), ...keyMetrics({}, undefined)],
  smile_segment_source_: scheduleMetrics({ counters: none, framesLeft: 0 }),
  smile_stream_processor_: processorMetrics({
    counters: { ingress: none, merging: none, egress: none, jobs: none },
    endpoints: none,
    jobsWaiting: none,
    lag: none,
    plantLags: none,
  }),
  smile_model_service_: [
    ...modelServiceMetrics({ counters: none, jobCounters: none, lag: none, deadLettersSuppressed: none }),
    scoringHistogram(),
  ],
  smile_plant_console_: [...consoleMetrics({ console: none, store: none, lastStoredMs: none }), windowToRiskHistogram()],
  smile_segment_console_: segmentConsoleMetrics(none),
  smile_plant_: plantRegistryMetrics(none),
  "": [...processMetrics(), ...timeSeriesMetrics({ counters: none, spool: none })],
};
const all = Object.values(services).flat();

/** The row of a metric in docs/operations.md. */
async function row(source: MetricDefinition | DurationHistogram): Promise<string> {
  if ("metric" in source) {
    const { name, help } = await source.metric.get();
    return `| \`${name}\` | histogram | | ${help} |`;
  }
  const { kind, name, labels = [], help } = source;
  return `| \`${name}\` | ${kind} | ${labels.map((label) => `\`${label}\` `).join("")}| ${help} |`;
}

it("finds every metric of every service in docs/operations.md, and no other", async () => {
  const text = readFileSync(join(ROOT, "docs/operations.md"), "utf8");
  const section = text.slice(text.indexOf("\n## Metrics\n"));
  const documented = section.split("\n").filter((line) => /^\| `[a-z_]+` \| (counter|gauge|histogram) \|/.test(line));
  expect(documented.toSorted()).toEqual((await Promise.all(all.map(row))).toSorted());
});

it("names metrics as Prometheus asks: by their service, counters with _total, units in full", () => {
  for (const [prefix, sources] of Object.entries(services)) {
    const metrics = new Metrics();
    metrics.add(sources);
    for (const name of metrics.names) expect(name).toMatch(new RegExp(`^${prefix || "(smile|process|nodejs)_"}[a-z]+(_[a-z]+)*$`));
  }
  for (const source of all) {
    if ("metric" in source) continue;
    expect(source.name.endsWith("_total")).toBe(source.kind === "counter");
    expect(source.name).not.toMatch(/_(ms|kb|mb|milliseconds)(_|$)/);
  }
});
