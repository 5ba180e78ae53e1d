import { squaredDistance, type Vector } from "./nearest-centroid.ts";
import { seededOrder } from "./seeded-order.ts";

const DEFAULT_SAMPLE = 1000;

/**
 * Mean silhouette (Rousseeuw, 1987): (b - a) / max(a, b) with a a record's mean distance to its own segment and b that to the
 * nearest other one. 1 for far and tight segments, 0 where they touch, below 0 for records in the wrong one; a record alone in its
 * segment counts 0. Distances are Euclidean and taken within a sample, so the cost is bounded.
 * @param segments [records]
 * @returns in [-1, 1]; NaN when the sample holds fewer than two segments
 */
export function silhouette(
  vectors: readonly Vector[],
  segments: ArrayLike<number>,
  { sample = DEFAULT_SAMPLE, seed = 1 }: { sample?: number; seed?: number } = {},
): number {
  if (vectors.length !== segments.length) throw new RangeError(`${vectors.length} records for ${segments.length} segments`);
  const chosen = vectors.length <= sample ? [...vectors.keys()] : seededOrder(vectors.length, seed, "silhouette").slice(0, sample);
  const members = Map.groupBy(chosen, (i) => segments[i]!);
  if (members.size < 2) return Number.NaN;
  const values = chosen.map((i) => {
    const own = members.get(segments[i]!)!;
    if (own.length === 1) return 0;
    const within = sumOfDistances(vectors, i, own) / (own.length - 1);
    let nearest = Number.POSITIVE_INFINITY;
    for (const [segment, others] of members)
      if (segment !== segments[i]) nearest = Math.min(nearest, sumOfDistances(vectors, i, others) / others.length);
    const larger = Math.max(within, nearest);
    return larger === 0 ? 0 : (nearest - within) / larger;
  });
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function sumOfDistances(vectors: readonly Vector[], i: number, others: readonly number[]): number {
  const vector = vectors[i]!;
  return others.reduce((sum, j) => sum + Math.sqrt(squaredDistance(vector, vectors[j]!)), 0);
}
