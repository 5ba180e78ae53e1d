import { hash } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Params } from "@smile/he/params";
import { frameLength } from "@smile/he/wire";
import type { Batch } from "@smile/schemas/envelopes";

/**
 * What costs little to check before a worker is asked. The worker checks every residue, and builds what SEAL loads itself, under a
 * header of its own: no byte of a batch is taken for SEAL's format.
 * @throws {PipelineError} PARAMS_UNKNOWN when the scheme is not the parameters' own, LANES_INVALID for a batch without parts, FRAME_WRONG_LENGTH, FRAME_WRONG_HASH
 */
export function checkBatch({ scheme, keyMode, parts, ciphertext, ciphertextHash }: Batch, params: Params): void {
  if (scheme !== params.scheme) {
    throw new PipelineError("PARAMS_UNKNOWN", `scheme is ${scheme}, and these parameters are of ${params.scheme}`);
  }
  if (parts.length === 0) throw new PipelineError("LANES_INVALID", "the batch has no parts, so nobody's windows are in it");
  const expected = frameLength(params, keyMode);
  if (ciphertext.length !== expected) {
    const facts = { length: ciphertext.length, expected };
    throw new PipelineError("FRAME_WRONG_LENGTH", `ciphertext has ${ciphertext.length} bytes, not ${expected}`, facts);
  }
  if (hash("sha256", ciphertext) !== ciphertextHash) {
    throw new PipelineError("FRAME_WRONG_HASH", "ciphertextHash is not the SHA-256 of the batch's ciphertext");
  }
  // A frame that was merged with none is what its gateway signed, to the byte; of a sum nobody can say that.
  if (parts.length === 1 && parts[0]!.ciphertextHash !== ciphertextHash) {
    throw new PipelineError("FRAME_WRONG_HASH", "the batch's one part is of another ciphertext than the batch");
  }
}
