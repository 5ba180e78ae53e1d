import { type DurationHistogram, durationHistogram, type MetricDefinition, samplesBy } from "@smile/runtime/metrics";
import type { ModelService } from "./service.ts";

/** How long scoring one batch by one head takes, waiting for a worker included; 1 ms to 10 s. */
export function scoringHistogram(): DurationHistogram {
  const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
  const help = "Scoring one batch by one head, waiting for a worker included";
  return durationHistogram("smile_model_service_scoring_seconds", help, bounds);
}

/** The model service's figures for Prometheus. Each is read from what it counts anyway. */
export function modelServiceMetrics(
  service: Pick<ModelService, "counters" | "jobCounters" | "lag" | "deadLettersSuppressed">,
): readonly MetricDefinition[] {
  const { counters, jobCounters } = service;
  const total = (name: string, help: string, read: () => number): MetricDefinition => {
    return { kind: "counter", name: `smile_model_service_${name}_total`, help, read };
  };
  return [
    total("batches", "Batches scored by every head of their feature set", () => counters.batches),
    total("scores", "Score envelopes: one per batch and head", () => counters.scores),
    total("scores_bytes", "Bytes of score envelopes", () => counters.bytes),
    total("dead_letters_suppressed", "Refused batches that were not kept: too many of one plant in an hour", service.deadLettersSuppressed),
    {
      kind: "counter",
      name: "smile_model_service_batches_refused_total",
      help: "Batches that were refused, by error code; they go to the dead-letter topic within their plant's budget",
      labels: ["code"],
      read: () => samplesBy("code", counters.refused),
    },
    {
      kind: "gauge",
      name: "smile_model_service_lag_records",
      help: "Batches of this member's partitions that are not scored and settled",
      read: () => service.lag("streams"),
    },
    total("job_batches", "Batches of jobs scored by every head of their feature set", () => jobCounters.batches),
    total("job_scores", "Score envelopes of jobs", () => jobCounters.scores),
    total("job_scores_bytes", "Bytes of score envelopes of jobs", () => jobCounters.bytes),
    {
      kind: "gauge",
      name: "smile_model_service_job_lag_records",
      help: "Batches of jobs in this member's partitions that are not scored and settled",
      read: () => service.lag("jobs"),
    },
  ];
}
