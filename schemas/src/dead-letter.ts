import { createHash } from "node:crypto";
import type { PipelineError } from "@smile/errors/pipeline-error";
import { deadLetterCodec } from "./envelopes.ts";

/** How much of a refused message is kept. */
const KEPT_BYTES = 1024;

/**
 * The dead letter for a refused message: why, from whom, and enough of it to find it again.
 * @param sender as far as it is known; empty text where it is not
 */
export function encodeDeadLetter(
  error: PipelineError,
  sender: { plant: string; gateway: string },
  payload: Uint8Array,
  receivedAtMs: number,
): Buffer {
  return deadLetterCodec.encode({
    ...sender,
    code: error.code,
    reason: error.message,
    receivedAtMs,
    length: payload.length,
    payloadHash: createHash("sha256").update(payload).digest("hex"),
    payload: payload.subarray(0, KEPT_BYTES),
  });
}
