import { nearestRegime } from "@smile/features/regime-normaliser";

/** Centroids [regimes][settings] in the settings' own units, and what each setting is divided by before distances are taken. */
export type SettingClusters = { readonly scale: readonly number[]; readonly centroids: readonly (readonly number[])[] };

/**
 * Operating points are tight: this share of the settings' variance lies between them. No cloud without such points reaches it with
 * `mostClusters` clusters (16 equal pieces of a uniform line explain 1 - 1/256).
 */
const explainedByRegimes = 0.999;
const mostClusters = 16;
const mostPoints = 4000;
/** A cluster with a smaller share of the points is an outlier; its rows go to the nearest regime. */
const smallestShare = 0.005;

/**
 * The operating points that the settings keep returning to, or one centroid when they only scatter (or do not vary at all).
 * k-means for growing k until the clusters explain the variance; deterministic, because each k starts from the centroids before
 * and the point farthest from them.
 * @param points [rows][settings], finite; may be empty
 */
export function clusterSettings(points: readonly (readonly number[])[], settings: number): SettingClusters {
  const every = Math.max(1, Math.ceil(points.length / mostPoints));
  const sample = points.filter((_, i) => i % every === 0);
  const centre = meanOf(sample, settings);
  const spread = centre.map((mean, s) => Math.sqrt(sample.reduce((sum, point) => sum + (point[s]! - mean) ** 2, 0) / sample.length));
  const scale = spread.map((deviation, s) => (deviation > 1e-9 * Math.max(1, Math.abs(centre[s]!)) ? deviation : 1));
  const one = { scale, centroids: [centre] };
  const total = distances(sample, one).reduce((sum, value) => sum + value, 0);
  if (sample.length === 0 || total <= 1e-9 * sample.length) return one;
  let centroids = [sample[farthest(distances(sample, one))]!];
  for (let k = 2; k <= mostClusters; k++) {
    centroids = lloyd(sample, { scale, centroids: [...centroids, sample[farthest(distances(sample, { scale, centroids }))]!] });
    const within = distances(sample, { scale, centroids }).reduce((sum, value) => sum + value, 0);
    if (1 - within / total >= explainedByRegimes) return { scale, centroids: withoutOutliers(sample, { scale, centroids }) };
  }
  return one;
}

/** Lloyd's algorithm to its fixed point, or 30 rounds. */
function lloyd(sample: readonly (readonly number[])[], start: { scale: readonly number[]; centroids: (readonly number[])[] }) {
  let { centroids } = start;
  let before: number[] = [];
  for (let round = 0; round < 30; round++) {
    const members = assign(sample, { scale: start.scale, centroids });
    if (members.every((cluster, i) => cluster === before[i])) break;
    before = members;
    centroids = centroids.map((old, c) => {
      const own = sample.filter((_, i) => members[i] === c);
      return own.length > 0 ? meanOf(own, old.length) : old;
    });
  }
  return centroids;
}

function withoutOutliers(sample: readonly (readonly number[])[], clusters: SettingClusters): (readonly number[])[] {
  const members = assign(sample, clusters);
  const counts = clusters.centroids.map((_, c) => members.filter((cluster) => cluster === c).length);
  const kept = clusters.centroids.filter((_, c) => counts[c]! >= smallestShare * sample.length);
  return kept.toSorted((a, b) => a.reduce((order, value, s) => order || value - b[s]!, 0));
}

function assign(sample: readonly (readonly number[])[], clusters: SettingClusters): number[] {
  return sample.map((point) => nearestRegime(clusters, Float64Array.from(point)));
}

/** Squared distance of each point to its nearest centroid, in scaled settings. */
function distances(sample: readonly (readonly number[])[], clusters: SettingClusters): number[] {
  const { scale, centroids } = clusters;
  return sample.map((point) => {
    const centroid = centroids[nearestRegime(clusters, Float64Array.from(point))]!;
    return point.reduce((sum, value, s) => sum + ((value - centroid[s]!) / scale[s]!) ** 2, 0);
  });
}

function farthest(values: readonly number[]): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}

function meanOf(points: readonly (readonly number[])[], settings: number): number[] {
  return Array.from({ length: settings }, (_, s) => points.reduce((sum, point) => sum + point[s]!, 0) / Math.max(1, points.length));
}
