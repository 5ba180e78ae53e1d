import { PipelineError } from "@smile/errors/pipeline-error";
import type { Gap } from "@smile/schemas/envelopes";
import { openGap, type Trust } from "./verification.ts";

/**
 * Reads a gap that a gateway of this plant had to leave.
 * @param bytes a Gap envelope
 * @throws {PipelineError} as `openGap`; SCORE_MISMATCH naming the field that contradicts the others
 */
export function readGap(bytes: Uint8Array, trust: Trust): Gap {
  const gap = openGap(bytes, trust);
  const possible = (field: keyof Gap, is: boolean) => {
    if (!is) throw new PipelineError("SCORE_MISMATCH", `${field} of the gap contradicts its other fields`, { field });
  };
  possible("frames", gap.frames >= 1 && gap.frames === gap.toSequence - gap.fromSequence + 1);
  possible("windows", gap.windows >= 0);
  return gap;
}
