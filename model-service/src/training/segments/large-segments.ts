import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { chooseSegments } from "./choose-segments.ts";
import type { Vector } from "./nearest-centroid.ts";
import { type SegmentFit, trainSegments } from "./train-segments.ts";

/** A centroid of fewer people tells too much of each: it goes into no document. */
export const LEAST_PEOPLE = 10;

export type LargeSegments = {
  readonly fit: SegmentFit;
  /** Why so many segments, in sentences; empty where they are as many as were asked for. */
  readonly explanation: string;
};

/**
 * Segments that each have at least ten people, in the records that they are learned from: as many as were asked for, or the most below
 * that; with "auto" as many as speak for themselves.
 * @param features [records][F] as `trainSegments` takes them
 * @throws {PipelineError} RECORDS_TOO_FEW when not even two segments have ten people each
 * @throws {RangeError} for fewer than two segments
 */
export function fitLargeSegments({
  features,
  segments,
  seed,
}: {
  readonly features: readonly Vector[];
  readonly segments: number | "auto";
  readonly seed: number;
}): LargeSegments {
  if (segments === "auto") {
    const range = [2, 3, 4, 5, 6, 7, 8].filter((k) => k * LEAST_PEOPLE <= features.length);
    if (range.length === 0) throw tooFew(features.length);
    const { fit, chosen, explanation } = chooseSegments({ features, range, seed, smallestSegment: LEAST_PEOPLE });
    if (chosen.smallest < LEAST_PEOPLE) throw tooFew(features.length);
    return { fit, explanation };
  }
  for (let k = segments; k >= 2; k--) {
    const fit = fitOrNone(features, k, seed);
    if (fit === undefined || Math.min(...fit.sizes) < LEAST_PEOPLE) continue;
    if (k === segments) return { fit, explanation: "" };
    const why = `${k + 1} would leave one of fewer than ${LEAST_PEOPLE} people, whose mean values would tell about each of them.`;
    return { fit, explanation: `${k} segments instead of ${segments}: ${why}` };
  }
  if (segments < 2) throw new RangeError(`segments is ${segments}; it must be a whole number from 2 on`);
  throw tooFew(features.length);
}

/** undefined where there are not so many different records. */
function fitOrNone(features: readonly Vector[], k: number, seed: number): SegmentFit | undefined {
  try {
    return trainSegments({ features, k, seed });
  } catch (error) {
    if (isPipelineError(error, "RECORDS_TOO_FEW")) return undefined;
    throw error;
  }
}

function tooFew(records: number): PipelineError {
  const what = `of ${records} records no two segments of at least ${LEAST_PEOPLE} people each can be learned`;
  return new PipelineError("RECORDS_TOO_FEW", what, { records, leastPeople: LEAST_PEOPLE });
}
