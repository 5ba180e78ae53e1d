import { adjustedRandIndex } from "./adjusted-rand-index.ts";
import { assignSegments, type Vector } from "./nearest-centroid.ts";
import { seededOrder, seededSample } from "./seeded-order.ts";
import { silhouette } from "./silhouette.ts";
import { type SegmentFit, trainSegments } from "./train-segments.ts";

/** What speaks for and against one number of segments. */
export type SegmentChoice = {
  readonly k: number;
  /** Mean silhouette on a sample, -1 to 1. */
  readonly silhouette: number;
  /** Mean adjusted Rand index between fits on two halves, up to 1: whether other people of the same kind would be grouped alike. */
  readonly stability: number;
  readonly smallest: number;
};

export type ChosenSegments = {
  readonly fit: SegmentFit;
  readonly chosen: SegmentChoice;
  readonly tried: readonly SegmentChoice[];
  /** Why, in sentences. */
  readonly explanation: string;
};

export type ChooseOptions = {
  readonly features: readonly Vector[];
  /** Ks to try; default 2 to 8. */
  readonly range?: readonly number[];
  readonly seed: number;
  /** Per K; default 5. */
  readonly restarts?: number;
  /** Centroids are fitted, and stability is measured, on at most so many records; default 4,000. */
  readonly sample?: number;
  /** A number of segments is out when one of them would have fewer records; default 10, the smallest segment that is ever shown. */
  readonly smallestSegment?: number;
};

/** Below this, halves of the same people disagree on so many of them that the segments say more of the sample than of the people. */
const STABLE = 0.8;
/** Kaufman and Rousseeuw (1990): below 0.25 there is no substantial structure that distances alone would show. */
const LOW = 0.25;
/** Halves that agree so well leave little doubt. */
const CERTAIN = 0.95;
const HALVINGS = 3;
const RESTARTS_PER_HALF = 3;

/**
 * Fits each K and takes the largest silhouette among those that are stable; where none is, the most stable one.
 * Stability after Ben-Hur, Elisseeff and Guyon, "A stability based method for discovering structure in clustered data" (2002).
 * @throws {PipelineError} RECORDS_TOO_FEW when some half has fewer different records than segments
 * @throws {RangeError} when `range` is empty
 */
export function chooseSegments(options: ChooseOptions): ChosenSegments {
  const { features, range = [2, 3, 4, 5, 6, 7, 8], seed, restarts = 5, sample = 4000, smallestSegment = 10 } = options;
  if (range.length === 0) throw new RangeError("range is empty; it must name at least one number of segments");
  const points = seededSample(features, sample, seed, "stability");
  const fits = range.map((k) => {
    const fit = trainSegments({ features, k, seed, restarts, sample });
    const choice: SegmentChoice = {
      k,
      silhouette: silhouette(features, fit.segments, { seed }),
      stability: stability(points, k, seed),
      smallest: Math.min(...fit.sizes),
    };
    return { fit, choice };
  });
  const large = fits.filter(({ choice }) => choice.smallest >= smallestSegment);
  const stable = large.filter(({ choice }) => choice.stability >= STABLE);
  const rule = stable.length > 0 ? ("silhouette" as const) : ("stability" as const);
  const candidates = stable.length > 0 ? stable : large.length > 0 ? large : fits;
  const best = candidates.reduce((most, one) => (one.choice[rule] > most.choice[rule] ? one : most));
  const tried = fits.map(({ choice }) => choice);
  return { fit: best.fit, chosen: best.choice, tried, explanation: explain(best.choice, tried, rule, smallestSegment) };
}

function stability(points: readonly Vector[], k: number, seed: number): number {
  const half = Math.floor(points.length / 2);
  let sum = 0;
  for (let round = 0; round < HALVINGS; round++) {
    const order = seededOrder(points.length, seed, `halving ${round}`);
    const labels = [order.slice(0, half), order.slice(half, 2 * half)].map((members) => {
      const { centroids } = trainSegments({ features: members.map((i) => points[i]!), k, seed: seed + round, restarts: RESTARTS_PER_HALF });
      return assignSegments(centroids, points);
    });
    sum += adjustedRandIndex(labels[0]!, labels[1]!);
  }
  return sum / HALVINGS;
}

function explain(chosen: SegmentChoice, tried: readonly SegmentChoice[], rule: "silhouette" | "stability", smallest: number): string {
  const ks = tried.map(({ k }) => k);
  const out = tried.filter((choice) => choice.smallest < smallest).map(({ k }) => k);
  const figures = `silhouette ${chosen.silhouette.toFixed(2)}, stability ${chosen.stability.toFixed(2)}`;
  const sentences = [`${chosen.k} segments (${figures}) out of ${ks.join(", ")} tried.`];
  if (rule === "silhouette")
    sentences.push(`Of those that two halves of the records agree on (${STABLE} or more), their silhouette is the largest.`);
  else
    sentences.push(
      `No number of segments is stable: two halves of the records agree at most ${chosen.stability.toFixed(2)} of ${STABLE}. Take these segments as one way among several of cutting what has no clear groups.`,
    );
  if (chosen.silhouette < LOW && chosen.stability < CERTAIN)
    sentences.push("The silhouette is low: segments touch, and people near a border could as well be in the next one.");
  else if (chosen.silhouette < LOW)
    sentences.push("The silhouette is low, as with many columns of noise it always is; that the halves agree so well says more.");
  if (out.length > 0) sentences.push(`${out.join(", ")} would leave a segment of fewer than ${smallest} records.`);
  return sentences.join(" ");
}
