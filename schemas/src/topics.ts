import { PipelineError } from "@smile/errors/pipeline-error";

/**
 * Topics of the log and what their records are: see envelopes.ts. Keyed by plant where nothing else is said. Gaps stand among the scores
 * of streams. Jobs have topics of their own, so that a million records stand before no machine's window.
 */
export const LOG_TOPICS = {
  frames: "smile.frames.v1",
  batches: "smile.batches.v1",
  scores: "smile.scores.v1",
  deadLetters: "smile.deadletter.v1",
  /** Snapshots of which frames were dealt with, keyed by partition of the frames topic. */
  seenFrames: "smile.seenframes.v1",
  jobFrames: "smile.jobs.frames.v1",
  jobBatches: "smile.jobs.batches.v1",
  jobScores: "smile.jobs.scores.v1",
  /** As `seenFrames`, of the jobs' frames topic. */
  jobSeenFrames: "smile.jobs.seenframes.v1",
} as const;

/** Names of plants and gateways become MQTT topic levels and certificate subjects: letters, digits, dot, dash and underscore, 1 to 64. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** MQTT: frames from a gateway, and in their place the gaps that it had to leave. */
export const framesTopic = (plant: string, gateway: string) => `smile/v1/${plant}/${gateway}/frames`;
/** MQTT: deliveries to a plant. */
export const scoresTopic = (plant: string) => `smile/v1/${plant}/scores`;
/** MQTT: how far a plant has stored its scores; JSON, see cursor.ts. */
export const cursorTopic = (plant: string) => `smile/v1/${plant}/cursor`;

/** MQTT: frames of jobs from a gateway. */
export const jobFramesTopic = (plant: string, gateway: string) => `smile/v1/${plant}/${gateway}/jobs`;
/** MQTT: deliveries of jobs' scores to a plant. */
export const jobScoresTopic = (plant: string) => `smile/v1/${plant}/job-scores`;
/** MQTT: how far a plant has stored its jobs' scores. */
export const jobCursorTopic = (plant: string) => `smile/v1/${plant}/job-cursor`;

/** Windows of machines, one after the other for ever; or jobs, each a known number of records. */
export type WorkKind = "streams" | "jobs";

export const WORK_KINDS: readonly WorkKind[] = ["streams", "jobs"];

/** Which kind of work a frame, or a part of a batch or score, belongs to. */
export const workOf = ({ jobId }: { readonly jobId: string | null }): WorkKind => (jobId === null ? "streams" : "jobs");

/** What a kind of work has for itself in the log and on MQTT. */
export const WORK_TOPICS = {
  streams: {
    frames: LOG_TOPICS.frames,
    batches: LOG_TOPICS.batches,
    scores: LOG_TOPICS.scores,
    seenFrames: LOG_TOPICS.seenFrames,
    mqtt: { frames: framesTopic, scores: scoresTopic, cursor: cursorTopic },
  },
  jobs: {
    frames: LOG_TOPICS.jobFrames,
    batches: LOG_TOPICS.jobBatches,
    scores: LOG_TOPICS.jobScores,
    seenFrames: LOG_TOPICS.jobSeenFrames,
    mqtt: { frames: jobFramesTopic, scores: jobScoresTopic, cursor: jobCursorTopic },
  },
} as const;

/** Consumer groups of the log: who merges a kind's frames, and who scores its batches. */
export const WORK_GROUPS: Readonly<Record<WorkKind, { readonly merging: string; readonly scoring: string }>> = {
  streams: { merging: "smile-stream-processor", scoring: "smile-model-service" },
  jobs: { merging: "smile-stream-processor-jobs", scoring: "smile-model-service-jobs" },
};

const WORK_OF_LEVEL: ReadonlyMap<string, WorkKind> = new Map([
  ["frames", "streams"],
  ["jobs", "jobs"],
]);

/**
 * The sender that a frames topic names, and the kind of work that comes on it.
 * @throws {PipelineError} FRAME_WRONG_SENDER when the topic is no frames topic
 */
export function parseFramesTopic(topic: string): { plant: string; gateway: string; work: WorkKind } {
  const [root, version, plant = "", gateway = "", level = "", ...rest] = topic.split("/");
  const work = WORK_OF_LEVEL.get(level);
  const ok = root === "smile" && version === "v1" && rest.length === 0 && NAME.test(plant) && NAME.test(gateway);
  if (!ok || work === undefined)
    throw new PipelineError("FRAME_WRONG_SENDER", "frames are published to smile/v1/{plant}/{gateway}/frames, those of jobs to .../jobs", {
      topicLength: topic.length,
    });
  return { plant, gateway, work };
}
