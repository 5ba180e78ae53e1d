/**
 * The public, immutable description of how a window of sensor rows becomes a vector of small integers.
 * Pure data: `schemas` gives it an id (the hash of its canonical JSON); edge and training run the same code on it.
 */
export type FeatureSet = {
  readonly kind: "feature-set";
  readonly version: 1;
  readonly name: string;
  /** Sensors that are lifted, in order. A row must carry each of them. */
  readonly sensors: readonly string[];
  /** Event time, in milliseconds. A window is (endMs - lengthMs, endMs]; ends are multiples of hopMs. */
  readonly window: { readonly lengthMs: number; readonly hopMs: number; readonly latenessMs: number };
  /** Normalisation per operating regime, or null when sensors are lifted as they come. */
  readonly regimes: Regimes | null;
  readonly lift: StatisticsLift | DegradationLift;
  /** Standardisation of the lifted features, then clipping to [-clip, clip]. Arrays have the lift's width. */
  readonly standardise: { readonly mean: readonly number[]; readonly deviation: readonly number[]; readonly clip: number };
  /** Random Fourier features appended behind the standardised ones: sqrt(2) cos(xR + b). */
  readonly fourier: FourierLift | null;
  /** Features become integers in [-(2^(bits-1) - 1), 2^(bits-1) - 1]. */
  readonly quantise: { readonly bits: number };
};

/** The regime of a row is the centroid nearest to its settings, each divided by its scale. */
export type Regimes = {
  readonly settings: readonly string[];
  readonly scale: readonly number[];
  /** [regimes][settings] */
  readonly centroids: readonly (readonly number[])[];
  /** [regimes][sensors]; a sensor's value becomes (value - mean) / deviation, clipped to [-clip, clip]. */
  readonly mean: readonly (readonly number[])[];
  readonly deviation: readonly (readonly number[])[];
  readonly clip: number;
};

export type Statistic = "mean" | "last" | "slope" | "deviation" | "minimum" | "maximum";

/** Statistics of the rows of one window, sensor by sensor: width = sensors * statistics. */
export type StatisticsLift = { readonly kind: "statistics"; readonly statistics: readonly Statistic[]; readonly minimumRows: number };

/**
 * Stateful, causal lift for machines that wear: per sensor exponential averages with the factors `averages`, the slope over
 * `slopeRows` rows, the drift of the middle average from the mean of the first `baselineRows` rows, fast minus slow average;
 * and the logarithm of the machine's age in rows. Width = sensors * (averages + 3) + 1. Nothing is emitted in the first
 * `warmupRows` rows of a machine.
 */
export type DegradationLift = {
  readonly kind: "degradation";
  readonly averages: readonly number[];
  readonly slopeRows: number;
  readonly baselineRows: number;
  readonly warmupRows: number;
};

export type FourierLift = { readonly seed: number; readonly width: number; readonly bandwidth: number };

/** One reading of one machine. `timeMs` is event time; `values` carries sensors and settings by name. */
export type Row = { readonly machine: string; readonly timeMs: number; readonly values: Readonly<Record<string, number>> };

/** A closed window of one machine, ready for its lane. `features` are integers within `quantise.bits`; `clipped` counts those at a bound. */
export type LiftedWindow = { readonly machine: string; readonly endMs: number; readonly features: Int32Array; readonly clipped: number };
