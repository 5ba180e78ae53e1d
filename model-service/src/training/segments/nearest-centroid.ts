/** A vector per record or segment, all of one length. */
export type Vector = ArrayLike<number>;

export function squaredDistance(a: Vector, b: Vector): number {
  let sum = 0;
  for (let f = 0; f < a.length; f++) sum += (a[f]! - b[f]!) ** 2;
  return sum;
}

/** The centroid nearest to a vector, the first of them where several are equally near. */
export function nearestCentroid(centroids: readonly Vector[], vector: Vector): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  centroids.forEach((centroid, k) => {
    const distance = squaredDistance(centroid, vector);
    if (distance < least) {
      best = k;
      least = distance;
    }
  });
  return best;
}

/** [records] The nearest centroid of each. */
export function assignSegments(centroids: readonly Vector[], vectors: readonly Vector[]): Int32Array {
  return Int32Array.from(vectors, (vector) => nearestCentroid(centroids, vector));
}
