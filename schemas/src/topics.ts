import { PipelineError } from "@smile/errors/pipeline-error";

/** Topics of the log and what their records are: see envelopes.ts. Keyed by plant where nothing else is said. Gaps stand among the scores. */
export const LOG_TOPICS = {
  frames: "smile.frames.v1",
  batches: "smile.batches.v1",
  scores: "smile.scores.v1",
  deadLetters: "smile.deadletter.v1",
  /** Snapshots of which frames were dealt with, keyed by partition of the frames topic. */
  seenFrames: "smile.seenframes.v1",
} as const;

/** Names of plants and gateways become MQTT topic levels and certificate subjects: letters, digits, dot, dash and underscore, 1 to 64. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** MQTT: frames from a gateway, and in their place the gaps that it had to leave. */
export const framesTopic = (plant: string, gateway: string) => `smile/v1/${plant}/${gateway}/frames`;
/** MQTT: deliveries to a plant. */
export const scoresTopic = (plant: string) => `smile/v1/${plant}/scores`;
/** MQTT: how far a plant has stored its scores; JSON, see cursor.ts. */
export const cursorTopic = (plant: string) => `smile/v1/${plant}/cursor`;

/**
 * The sender that a frames topic names.
 * @throws {PipelineError} FRAME_WRONG_SENDER when the topic is no frames topic
 */
export function parseFramesTopic(topic: string): { plant: string; gateway: string } {
  const [root, version, plant = "", gateway = "", kind, ...rest] = topic.split("/");
  const ok = root === "smile" && version === "v1" && kind === "frames" && rest.length === 0 && NAME.test(plant) && NAME.test(gateway);
  if (!ok)
    throw new PipelineError("FRAME_WRONG_SENDER", "frames are published to smile/v1/{plant}/{gateway}/frames", {
      topicLength: topic.length,
    });
  return { plant, gateway };
}
