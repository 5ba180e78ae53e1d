import type { SegmentProfiles } from "@smile/schemas/record-documents";

/**
 * For each segment the others, nearest first, by the Euclidean distance of their centroids; of two as near the first one.
 * @returns [K][K - 1]
 */
export function nearnessOf({ segments }: Pick<SegmentProfiles, "segments">): number[][] {
  const squared = (a: readonly number[], b: readonly number[]) => a.reduce((sum, value, f) => sum + (value - b[f]!) ** 2, 0);
  return segments.map(({ centroid }, own) => {
    const others = segments.map((other, segment) => ({ segment, distance: squared(centroid, other.centroid) }));
    return others
      .filter(({ segment }) => segment !== own)
      .sort((a, b) => a.distance - b.distance || a.segment - b.segment)
      .map(({ segment }) => segment);
  });
}
