import { hash } from "node:crypto";
import type { Params } from "@smile/he/params";
import { mergeFrames } from "@smile/he/wire";
import { type Batch, batchCodec, type Frame, type Part } from "@smile/schemas/envelopes";

/**
 * The batch envelope of frames of one kind with disjoint lanes: their ciphertexts added, their places listed.
 * @param frames at least one
 */
export function mergeToBatch(params: Params, frames: readonly Frame[]): Buffer {
  const [first] = frames;
  if (first === undefined) throw new RangeError("a batch needs at least one frame");
  const { plant, scheme, keyMode, paramsId, keyId, featureSetId } = first;
  const ciphertext = mergeFrames(
    params,
    frames.map((frame) => frame.ciphertext),
  );
  const ciphertextHash = frames.length === 1 ? first.ciphertextHash : hash("sha256", ciphertext);
  const batch: Batch = { plant, scheme, keyMode, paramsId, keyId, featureSetId, parts: frames.map(partOf), ciphertextHash, ciphertext };
  return batchCodec.encode(batch);
}

function partOf(frame: Frame): Part {
  const { gateway, epoch, sequence, block, lanes, frameTimeMs, closedAtMs, jobId, frameCount, ciphertextHash, signature } = frame;
  return { gateway, epoch, sequence, block, lanes, frameTimeMs, closedAtMs, jobId, frameCount, ciphertextHash, signature };
}
