import { PipelineError } from "@smile/errors/pipeline-error";
import { z } from "zod";

const Schema = z.strictObject({
  /** Topic and partition that `next` counts in, as the deliveries named them; null when the plant has stored no score. */
  topicId: z.string().min(1).max(64).nullable(),
  partition: z.number().int().min(0).nullable(),
  /** Offset of the first score that the plant has not stored; null when it has stored none. */
  next: z.number().int().min(0).nullable(),
  /**
   * True when what is on its way may be lost and should be sent again from `next` on: after connecting, when something is missing, or
   * when nothing came for a while. False only moves the sender's window on.
   */
  resume: z.boolean(),
});

/** What a plant's console says to the service, and all that it ever says: how far it has stored its scores. */
export type CursorMessage = Readonly<z.infer<typeof Schema>>;

/** How far a plant has stored its scores. */
export type Cursor = Omit<CursorMessage, "resume">;

/** The payload of a cursor message: JSON. */
export function encodeCursor(message: CursorMessage): Buffer {
  return Buffer.from(JSON.stringify(message));
}

/** @throws {PipelineError} FRAME_MALFORMED when the payload is no cursor */
export function parseCursor(payload: Uint8Array): CursorMessage {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString();
  try {
    return Schema.parse(JSON.parse(text));
  } catch (error) {
    throw new PipelineError(
      "FRAME_MALFORMED",
      "a cursor is JSON with topicId, partition, next and resume",
      { length: payload.length },
      error,
    );
  }
}
