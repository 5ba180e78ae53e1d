import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { type Frame, frameCodec, type Gap, gapCodec } from "@smile/schemas/envelopes";
import { isGapSigned, isPartSigned } from "@smile/schemas/signing";
import { workOf } from "@smile/schemas/topics";
import {
  type Arrival,
  checkCiphertextLength,
  checkFrameNumbers,
  checkGapNumbers,
  checkHash,
  checkKey,
  checkLanes,
  checkLength,
  checkResidues,
  checkSender,
  checkSignature,
  checkWork,
} from "./admission-checks.ts";
import type { Catalogue } from "./catalogue.ts";

/** No envelope of a deployed frame is larger: two polynomials of 4096 residues of 60 bits are 61,440 bytes. */
export const LARGEST_FRAME_BYTES = 64 * 1024;

/** No gap's envelope is larger: two names of 64 bytes, seven numbers of at most 8 bytes, a signature of 64 bytes. */
export const LARGEST_GAP_BYTES = 1024;

/** What frames are checked against. */
export type AdmissionRules = {
  readonly registry: PlantRegistry;
  readonly catalogue: Catalogue;
  /** Whether a frame that its gateway signed is in the log already. */
  readonly isDurable: (frame: Frame) => boolean;
};

/** A frame that passed every check; or one that is in the log already, whose ciphertext was not looked at again. */
export type AdmittedFrame = { readonly frame: Frame; readonly isRepeated: boolean };

/**
 * Everything that is checked on a frame from outside before it enters the log, in this order. Before its signature is verified nothing
 * of it counts but the names that find the key.
 * @param nowMs wall clock: what keys and certificates are still good for
 * @throws {PipelineError} FRAME_WRONG_LENGTH, FRAME_MALFORMED, FRAME_WRONG_SENDER, PLANT_UNKNOWN, SENDER_UNKNOWN, SIGNATURE_INVALID,
 *   PARAMS_UNKNOWN, FEATURE_SET_UNKNOWN, LANES_INVALID, KEY_UNKNOWN, FRAME_WRONG_HASH, RESIDUE_OUT_OF_RANGE, CIPHERTEXT_TRANSPARENT
 */
export function admitFrame(arrival: Arrival, { registry, catalogue, isDurable }: AdmissionRules, nowMs: number): AdmittedFrame {
  checkLength(arrival.payload, LARGEST_FRAME_BYTES);
  const frame = frameCodec.view(arrival.payload);
  checkWork(arrival, workOf(frame));
  const { plant, signers } = checkSender(arrival, frame, registry, nowMs);
  checkSignature(isPartSigned(frame, frame, signers));
  if (isDurable(frame)) return { frame, isRepeated: true };
  checkFrameNumbers(frame);
  const kind = catalogue.find(frame);
  checkLanes(frame, kind, plant);
  checkKey(frame, plant, nowMs);
  checkCiphertextLength(frame, kind);
  checkHash(frame);
  checkResidues(frame, kind);
  return { frame, isRepeated: false };
}

/**
 * Everything that is checked on a gap before it enters the log: length, schema, sender, signature, and that its numbers can be true
 * together.
 * @param nowMs wall clock
 * @throws {PipelineError} FRAME_WRONG_LENGTH, FRAME_MALFORMED, FRAME_WRONG_SENDER, PLANT_UNKNOWN, SENDER_UNKNOWN, SIGNATURE_INVALID
 */
export function admitGap(arrival: Arrival, { registry }: Pick<AdmissionRules, "registry">, nowMs: number): Gap {
  checkLength(arrival.payload, LARGEST_GAP_BYTES);
  const gap = gapCodec.decode(arrival.payload);
  checkWork(arrival, "streams");
  const { signers } = checkSender(arrival, gap, registry, nowMs);
  checkSignature(isGapSigned(gap, signers));
  checkGapNumbers(gap);
  return gap;
}
