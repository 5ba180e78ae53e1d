import type { MetricDefinition } from "@smile/runtime/metrics";
import type { JobSchedule } from "./job-schedule.ts";

/** A schedule's figures for Prometheus. */
export function scheduleMetrics(schedule: Pick<JobSchedule, "counters" | "framesLeft">): readonly MetricDefinition[] {
  const { counters } = schedule;
  const total = (name: string, help: string, read: () => number): MetricDefinition => {
    return { kind: "counter", name: `smile_segment_source_${name}_total`, help, read };
  };
  return [
    total("jobs_begun", "Jobs begun at a tick of the schedule", () => counters.begun),
    total("jobs_done", "Jobs of which every frame was acknowledged", () => counters.done),
    total("jobs_failed", "Attempts to send a job that failed; the log says why", () => counters.failed),
    total("ticks_skipped", "Ticks that came while a job was still being sent", () => counters.ticksSkipped),
    {
      kind: "gauge",
      name: "smile_segment_source_frames_left",
      help: "Frames of the job under way that are not acknowledged; 0 while there is none",
      read: () => schedule.framesLeft,
    },
  ];
}
