import { PipelineError } from "@smile/errors/pipeline-error";
import { z } from "zod";

const Schema = z.strictObject({
  /** Offset of the first score that the plant has not stored; null when it has stored none. */
  next: z.number().int().min(0).nullable(),
  /** Topic and partition that `next` counts in, as the deliveries named them; null when it has stored none. */
  topicId: z.string().min(1).max(64).nullable().default(null),
  partition: z.number().int().min(0).nullable(),
  /** True when what is on its way may be lost: after connecting, when something is missing, or when nothing came for a while. */
  resume: z.boolean(),
});

/** How far a plant has stored its scores: all that ever flows from a plant's console to the service. */
export type Cursor = z.infer<typeof Schema>;

/** @throws {PipelineError} FRAME_MALFORMED when the payload is no cursor */
export function parseCursor(payload: Uint8Array): Cursor {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString();
  try {
    return Schema.parse(JSON.parse(text));
  } catch (error) {
    throw new PipelineError("FRAME_MALFORMED", "a cursor is JSON with next, partition and resume", { length: payload.length }, error);
  }
}
