import type { KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { type Gap, gapCodec, type Part, type Score, scoreCodec } from "@smile/schemas/envelopes";
import type { RegisteredPlant } from "@smile/schemas/registered-plant";
import { isGapSigned, isPartSigned, isScoreSigned } from "@smile/schemas/signing";
import { PartProofs } from "./part-proofs.ts";

/** Whom a console believes: the gateways of its plant's register, and the model services of its service document. */
export type Trust = { readonly plant: RegisteredPlant; readonly scoreSigners: readonly KeyObject[] };

/** The last version of a Score envelope whose parts carry no signature of their gateway. */
const UNSIGNED_VERSION = 1;

/** `revoked`: parts that a gateway signed whose key was revoked since. */
export type OpenedScore = { readonly score: Score; readonly revoked: ReadonlySet<Part> };

/**
 * A score whose origin is proven, before anything else looks at it: the model service signed its replies together with the parts that
 * they answer, and each part is what a gateway of this plant signed. So nobody between can forge, relabel or exchange anything; that a
 * model service does not answer with another window's score, no signature can prove: see `contradictions` of the store.
 * @param bytes a Score envelope
 * @param proofs what earlier scores proved of their parts
 * @throws {PipelineError} FRAME_MALFORMED; SIGNATURE_INVALID, also when every part is a revoked gateway's; SCORE_MISMATCH when it is
 *   another plant's
 */
export function openScore(bytes: Uint8Array, { plant, scoreSigners }: Trust, proofs = new PartProofs()): OpenedScore {
  const score = scoreCodec.decode(bytes);
  if (bytes[1] === UNSIGNED_VERSION) {
    const what = "the score is of version 1, whose parts carry no signatures: name version 2 in reads.score of the plant's register";
    throw new PipelineError("SIGNATURE_INVALID", what, { version: UNSIGNED_VERSION });
  }
  if (!isScoreSigned(score, scoreSigners))
    throw new PipelineError("SIGNATURE_INVALID", "the score is not signed by a model service of the service document");
  if (score.plant !== plant.plant) throw new PipelineError("SCORE_MISMATCH", "plant of the score is not this one", { field: "plant" });
  const revoked = new Set<Part>();
  for (const part of score.parts) {
    if (proofs.prove(score, part, plant)) continue;
    // A gateway that was revoked costs the others nothing that was merged with its windows.
    if (score.parts.length > 1 && isPartSigned(score, part, plant.signersRevoked(part.gateway))) {
      revoked.add(part);
      continue;
    }
    const { gateway, epoch, sequence } = part;
    const what = "a part of the score is not signed by a key of its gateway that the plant's register believes";
    throw new PipelineError("SIGNATURE_INVALID", what, { gateway, epoch, sequence });
  }
  return { score, revoked };
}

/**
 * A gap that a gateway of this plant signed.
 * @param bytes a Gap envelope
 * @throws {PipelineError} FRAME_MALFORMED; SIGNATURE_INVALID; SCORE_MISMATCH when it is another plant's
 */
export function openGap(bytes: Uint8Array, { plant }: Trust): Gap {
  const gap = gapCodec.decode(bytes);
  if (gap.plant !== plant.plant) throw new PipelineError("SCORE_MISMATCH", "plant of the gap is not this one", { field: "plant" });
  if (isGapSigned(gap, plant.signersEver(gap.gateway))) return gap;
  const { gateway, epoch, fromSequence, toSequence } = gap;
  const what = "the gap is not signed by a key of its gateway that the plant's register believes";
  throw new PipelineError("SIGNATURE_INVALID", what, { gateway, epoch, fromSequence, toSequence });
}
