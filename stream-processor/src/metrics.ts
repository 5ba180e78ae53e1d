import { type MetricDefinition, type Sample, samplesBy } from "@smile/runtime/metrics";
import type { EndpointState } from "./endpoint.ts";
import type { StreamProcessor } from "./service.ts";

/** The stream processor's figures for Prometheus. Each is read from what it counts anyway. */
export function processorMetrics(
  processor: Pick<StreamProcessor, "counters" | "endpoints" | "jobsWaiting" | "lag" | "plantLags">,
): readonly MetricDefinition[] {
  const { ingress, merging, egress, jobs } = processor.counters;
  const byBroker = (samplesOf: (state: EndpointState) => readonly Sample[]) =>
    Object.entries(processor.endpoints).flatMap(([broker, state]) =>
      samplesOf(state).map(({ labels, value }) => ({ labels: { broker, ...labels }, value })),
    );
  const total = (name: string, help: string, read: () => number): MetricDefinition => {
    return { kind: "counter", name: `smile_stream_processor_${name}_total`, help, read };
  };
  return [
    total("frames_accepted", "Frames that are in the log and were acknowledged", () => ingress.accepted),
    total("gaps_accepted", "Gaps that gateways reported: frames that will never come", () => ingress.gaps),
    total("frames_accepted_bytes", "Bytes of accepted frames", () => ingress.bytes),
    {
      kind: "counter",
      name: "smile_stream_processor_frames_refused_total",
      help: "Frames and gaps that were refused, by error code",
      labels: ["code"],
      read: () => samplesBy("code", ingress.refused),
    },
    total(
      "dead_letters_suppressed",
      "Refused messages that left no dead letter: their plant's budget was spent",
      () => ingress.deadLettersSuppressed,
    ),
    total("frames_replayed", "Frames that were acknowledged and not appended: they were in the log already", () => ingress.replayed),
    {
      kind: "counter",
      name: "smile_stream_processor_quota_wait_seconds_total",
      help: "Time that messages waited for their plant's quota, by plant; of unregistered ones under an empty name",
      labels: ["plant"],
      read: () => samplesBy("plant", ingress.quotaWaitSeconds),
    },
    {
      kind: "counter",
      name: "smile_stream_processor_quota_exceeded_total",
      help: "Messages that were not taken because too many of their plant waited, by plant; their gateways send them again",
      labels: ["plant"],
      read: () => samplesBy("plant", ingress.quotaExceeded),
    },
    total("frames_read", "Frames read from the log for merging", () => merging.frames),
    total("frames_repeated", "Frames of the log that had been merged before", () => merging.repeated),
    total("frames_skipped", "Frames of the log whose deployment is gone", () => merging.skipped),
    total("batches", "Merged ciphertexts written to the log", () => merging.batches),
    total("deliveries", "Scores sent to plants, repeats included", () => egress.deliveries),
    total("deliveries_bytes", "Bytes of scores sent to plants", () => egress.bytes),
    {
      kind: "counter",
      name: "smile_stream_processor_connections_cut_off_total",
      help: "Connections that the embedded brokers ended or did not take, by broker and reason",
      labels: ["broker", "reason"],
      read: () => byBroker(({ cutOff }) => samplesBy("reason", cutOff)),
    },
    {
      kind: "gauge",
      name: "smile_stream_processor_broker_connected",
      help: "1 while the broker can be reached, by broker; an embedded one always can",
      labels: ["broker"],
      read: () => byBroker(({ connected }) => [{ labels: {}, value: connected ? 1 : 0 }]),
    },
    {
      kind: "gauge",
      name: "smile_stream_processor_lag_records",
      help: "Frames of this member's partitions that are not merged and settled",
      read: () => processor.lag("streams"),
    },
    {
      kind: "gauge",
      name: "smile_stream_processor_plant_lag_records",
      help: "Scores behind the cursor of each plant that has shown up here, other plants' in the same partition included",
      labels: ["plant"],
      read: async () => [...(await processor.plantLags("streams"))].map(([plant, value]) => ({ labels: { plant }, value })),
    },
    total("job_frames_accepted", "Frames of jobs that are in the log and were acknowledged", () => ingress.jobs.accepted),
    total("job_frames_accepted_bytes", "Bytes of accepted frames of jobs", () => ingress.jobs.bytes),
    total("job_frames_replayed", "Frames of jobs that were in the log already", () => ingress.jobs.replayed),
    {
      kind: "counter",
      name: "smile_stream_processor_job_wait_seconds_total",
      help: "Time that frames of jobs waited for their plant's turn and quota, by plant",
      labels: ["plant"],
      read: () => samplesBy("plant", ingress.jobs.waitSeconds),
    },
    {
      kind: "counter",
      name: "smile_stream_processor_job_frames_given_back_total",
      help: "Frames of jobs that were not taken because they waited too long, by plant; they are sent again",
      labels: ["plant"],
      read: () => samplesBy("plant", ingress.jobs.givenBack),
    },
    {
      kind: "gauge",
      name: "smile_stream_processor_job_frames_waiting",
      help: "Frames of jobs that wait for their plant's turn into the log",
      read: () => processor.jobsWaiting(),
    },
    total("job_frames_repeated", "Frames of jobs in the log that had been taken up before", () => jobs.merging.repeated),
    total("job_frames_skipped", "Frames of jobs in the log whose deployment is gone", () => jobs.merging.skipped),
    total("job_batches", "Ciphertexts of jobs handed to the model services", () => jobs.merging.batches),
    total("job_deliveries", "Scores of jobs sent to plants, repeats included", () => jobs.egress.deliveries),
    {
      kind: "gauge",
      name: "smile_stream_processor_job_lag_records",
      help: "Frames of jobs in this member's partitions that are not handed on and settled",
      read: () => processor.lag("jobs"),
    },
    {
      kind: "gauge",
      name: "smile_stream_processor_job_plant_lag_records",
      help: "Scores of jobs behind the cursor of each plant that has shown up here, other plants' in the same partition included",
      labels: ["plant"],
      read: async () => [...(await processor.plantLags("jobs"))].map(([plant, value]) => ({ labels: { plant }, value })),
    },
  ];
}
