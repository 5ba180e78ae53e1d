import { PipelineError } from "@smile/errors/pipeline-error";
import { type Gap, gapCodec } from "@smile/schemas/envelopes";

/**
 * Reads a gap that a gateway of this plant had to leave.
 * @param bytes a Gap envelope
 * @throws {PipelineError} FRAME_MALFORMED; SCORE_MISMATCH naming the field that is not this plant's, or contradicts the others
 */
export function readGap(bytes: Uint8Array, plant: string): Gap {
  const gap = gapCodec.decode(bytes);
  const own = (field: keyof Gap, matches: boolean) => {
    if (!matches) throw new PipelineError("SCORE_MISMATCH", `${field} of the gap cannot be this plant's`, { field });
  };
  own("plant", gap.plant === plant);
  own("frames", gap.frames >= 1 && gap.frames === gap.toSequence - gap.fromSequence + 1);
  own("windows", gap.windows >= 0);
  return gap;
}
