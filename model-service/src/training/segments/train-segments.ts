import { PipelineError } from "@smile/errors/pipeline-error";
import { kmeans } from "ml-kmeans";
import { assignSegments, squaredDistance, type Vector } from "./nearest-centroid.ts";
import { seededSample } from "./seeded-order.ts";

export type SegmentFit = {
  /** [K][F], the largest segment first. */
  readonly centroids: readonly (readonly number[])[];
  /** [K] Records in each segment, over all that were given. */
  readonly sizes: readonly number[];
  /** [records] */
  readonly segments: Int32Array;
  /** Mean squared distance of a record to its centroid: what k-means makes small. */
  readonly inertia: number;
};

export type SegmentOptions = {
  /** [records][F], integers of `encodeRecord` or their values before rounding, in which the centroids then are. */
  readonly features: readonly Vector[];
  /** K, from 2 on. */
  readonly k: number;
  readonly seed: number;
  /** Starts from other centroids; the best one is kept. Default 10. */
  readonly restarts?: number;
  /** k-means itself runs on at most so many records: it holds copies. Default 10,000. */
  readonly sample?: number;
};

const MOST_ITERATIONS = 200;

/**
 * k-means with k-means++ starts (Arthur and Vassilvitskii, 2007), by ml-kmeans. The same seed gives the same segments. A start that
 * ends with an empty segment is passed over.
 * @throws {PipelineError} RECORDS_TOO_FEW when there are fewer different records than segments
 * @throws {RangeError} when `k` or `restarts` is out of range
 */
export function trainSegments({ features, k, seed, restarts = 10, sample = 10_000 }: SegmentOptions): SegmentFit {
  if (!Number.isInteger(k) || k < 2) throw new RangeError(`k is ${k}; it must be a whole number from 2 on`);
  if (!Number.isInteger(restarts) || restarts < 1) throw new RangeError(`restarts is ${restarts}; it must be a whole number from 1 on`);
  const points = seededSample(features, sample, seed, "k-means").map((vector) => Array.from(vector));
  checkDifferent(points, k);
  let best: { centroids: number[][]; inertia: number } | undefined;
  for (let start = 0; start < restarts; start++) {
    // tolerance 0: until no centroid moves, so that the result does not depend on the features' unit
    const { centroids } = kmeans(points, k, { seed: seed + start, maxIterations: MOST_ITERATIONS, tolerance: 0 });
    const found = assess(points, centroids);
    if (found.sizes.every((size) => size > 0) && (best === undefined || found.inertia < best.inertia))
      best = { centroids, inertia: found.inertia };
  }
  if (best === undefined)
    throw new PipelineError("RECORDS_TOO_FEW", `every one of ${restarts} starts left one of ${k} segments empty`, { k, restarts });
  const { sizes } = assess(features, best.centroids);
  const centroids = best.centroids.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  const ordered = centroids.map((i) => best.centroids[i]!);
  return { centroids: ordered, ...assess(features, ordered) };
}

function assess(features: readonly Vector[], centroids: readonly Vector[]) {
  const segments = assignSegments(centroids, features);
  const sizes = centroids.map(() => 0);
  let sum = 0;
  segments.forEach((segment, i) => {
    sizes[segment]!++;
    sum += squaredDistance(centroids[segment]!, features[i]!);
  });
  return { segments, sizes, inertia: sum / features.length };
}

function checkDifferent(points: readonly Vector[], k: number): void {
  const different = new Set<string>();
  for (const point of points) {
    different.add(Array.from(point).join(" "));
    if (different.size >= k) return;
  }
  throw new PipelineError("RECORDS_TOO_FEW", `${k} segments need at least ${k} different records, not ${different.size}`, { k });
}
