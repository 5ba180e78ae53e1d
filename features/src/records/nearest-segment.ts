/**
 * The segment of a record: the output with the largest score, the first of them where several are equal. With a segment head's
 * scores 2 x.c - |c|^2 that is the nearest centroid.
 * @param scores [K], at least one, finite
 */
export function nearestSegment(scores: ArrayLike<number>): number {
  let best = 0;
  for (let k = 1; k < scores.length; k++) if (scores[k]! > scores[best]!) best = k;
  return best;
}
