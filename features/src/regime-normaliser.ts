import type { Regimes } from "./spec.ts";

/** Index of the centroid nearest to the settings, each setting divided by its scale. The lowest index wins a tie. */
export function nearestRegime(regimes: Pick<Regimes, "centroids" | "scale">, settings: Float64Array): number {
  let nearest = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let r = 0; r < regimes.centroids.length; r++) {
    const centroid = regimes.centroids[r]!;
    let distance = 0;
    for (let s = 0; s < centroid.length; s++) {
      const difference = (settings[s]! - centroid[s]!) / regimes.scale[s]!;
      distance += difference * difference;
    }
    if (distance < least) {
      least = distance;
      nearest = r;
    }
  }
  return nearest;
}

/** Replaces each sensor's value by (value - mean) / deviation of the row's regime, clipped to [-clip, clip]. Changes `sensors`. */
export function normalise(regimes: Regimes, settings: Float64Array, sensors: Float64Array): void {
  const regime = nearestRegime(regimes, settings);
  const mean = regimes.mean[regime]!;
  const deviation = regimes.deviation[regime]!;
  for (let s = 0; s < sensors.length; s++) {
    const value = (sensors[s]! - mean[s]!) / deviation[s]!;
    sensors[s] = Math.min(regimes.clip, Math.max(-regimes.clip, value));
  }
}
