import { hash } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { decodeLanes } from "@smile/he/lanes";
import { checkFrame, frameLength } from "@smile/he/wire";
import { type Frame, frameCodec, type Gap, gapCodec } from "@smile/schemas/envelopes";
import { parseFramesTopic } from "@smile/schemas/topics";
import type { Catalogue } from "./catalogue.ts";

/** No envelope of a deployed frame is larger: two polynomials of 4096 residues of 60 bits are 61,440 bytes. */
export const LARGEST_FRAME_BYTES = 64 * 1024;

/** No gap's envelope is larger: two names of 64 bytes, seven numbers of at most 8 bytes, a signature of 64 bytes. */
export const LARGEST_GAP_BYTES = 1024;

/**
 * Everything that is checked on a frame from outside before it enters the log, cheapest first: length, schema, sender, parameters
 * and feature set, lanes, exact ciphertext length, hash, every residue below q.
 * @param topic the MQTT topic it was published to
 * @throws {PipelineError} FRAME_WRONG_LENGTH, FRAME_MALFORMED, FRAME_WRONG_SENDER, PARAMS_UNKNOWN, FEATURE_SET_UNKNOWN,
 *   LANES_INVALID, FRAME_WRONG_HASH, RESIDUE_OUT_OF_RANGE
 */
export function admitFrame(topic: string, bytes: Uint8Array, catalogue: Catalogue): Frame {
  if (bytes.length > LARGEST_FRAME_BYTES) {
    throw new PipelineError("FRAME_WRONG_LENGTH", `the envelope has ${bytes.length} bytes`, {
      length: bytes.length,
      largest: LARGEST_FRAME_BYTES,
    });
  }
  const frame = frameCodec.decode(bytes);
  checkSender(topic, frame);
  const kind = catalogue.find(frame);
  decodeLanes(frame.lanes, kind.lanes);
  const expected = frameLength(kind.params, kind.keyMode);
  if (frame.ciphertext.length !== expected) {
    throw new PipelineError(
      "FRAME_WRONG_LENGTH",
      `the ciphertext has ${frame.ciphertext.length} bytes; these parameters ask for ${expected}`,
      { expected },
    );
  }
  if (hash("sha256", frame.ciphertext) !== frame.ciphertextHash)
    throw new PipelineError("FRAME_WRONG_HASH", "the ciphertext has another SHA-256 than the envelope says");
  checkFrame(kind.params, kind.keyMode, frame.ciphertext);
  return frame;
}

/**
 * Everything that is checked on a gap before it enters the log: length, schema, sender, and that its numbers can be true together.
 * @param topic the MQTT topic it was published to
 * @throws {PipelineError} FRAME_WRONG_LENGTH, FRAME_MALFORMED, FRAME_WRONG_SENDER
 */
export function admitGap(topic: string, bytes: Uint8Array): Gap {
  if (bytes.length > LARGEST_GAP_BYTES) {
    throw new PipelineError("FRAME_WRONG_LENGTH", `the gap's envelope has ${bytes.length} bytes`, {
      length: bytes.length,
      largest: LARGEST_GAP_BYTES,
    });
  }
  const gap = gapCodec.decode(bytes);
  checkSender(topic, gap);
  const { epoch, fromSequence, toSequence, frames, windows, fromTimeMs, toTimeMs } = gap;
  const agrees =
    epoch >= 0 && fromSequence >= 0 && frames >= 1 && frames === toSequence - fromSequence + 1 && windows >= 0 && fromTimeMs <= toTimeMs;
  if (!agrees) throw new PipelineError("FRAME_MALFORMED", "the gap's numbers contradict each other", { length: bytes.length });
  return gap;
}

function checkSender(topic: string, { plant, gateway }: Pick<Gap, "plant" | "gateway">): void {
  const sender = parseFramesTopic(topic);
  if (sender.plant !== plant || sender.gateway !== gateway) {
    throw new PipelineError("FRAME_WRONG_SENDER", "the envelope names another plant or gateway than its topic");
  }
}
