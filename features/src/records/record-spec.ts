/**
 * The public, immutable description of how a record (an employee, one line of a file) becomes a vector of small integers.
 * It holds no value of any person beyond rounded means, deviations and shares, and the names of categories that enough people share.
 */
export type RecordFeatureSet = {
  readonly kind: "record-feature-set";
  readonly version: 1;
  readonly name: string;
  /** In the order of the features. */
  readonly columns: readonly RecordColumn[];
  /** Standardised values are limited to [-clip, clip], before their weight. */
  readonly clip: number;
  /** Features become integers in [-(2^(bits-1) - 1), 2^(bits-1) - 1], all with one step: distances keep their meaning. */
  readonly quantise: { readonly bits: number };
};

export type RecordColumn = NumericColumn | OrdinalColumn | CategoricalColumn;

/** One feature: (value - mean) / deviation. */
export type NumericColumn = {
  readonly kind: "numeric";
  readonly column: string;
  readonly mean: number;
  readonly deviation: number;
  readonly weight: number;
};

/** One feature: the position in `values`, from 0, as a numeric column. */
export type OrdinalColumn = {
  readonly kind: "ordinal";
  readonly column: string;
  /** From lowest to highest. */
  readonly values: readonly string[];
  readonly mean: number;
  readonly deviation: number;
  readonly weight: number;
};

/**
 * One feature per category: (1 if the record has it, else 0) minus its share, over the square root of the sum of share (1 - share),
 * so that all of them together vary as much as one numeric column.
 */
export type CategoricalColumn = {
  readonly kind: "categorical";
  readonly column: string;
  readonly values: readonly string[];
  /** Share of the records in each category, in (0, 1). */
  readonly shares: readonly number[];
  readonly weight: number;
};

/** One line of a file by column name, as text. Absent, empty and "NA" values are missing. */
export type RecordValues = Readonly<Record<string, string>>;

/** What an analyst says about the columns of a file. Private to the organisation. Every column of the file appears in it once. */
export type RecordMapping = {
  readonly name: string;
  readonly columns: readonly MappedColumn[];
  /** Names a record. It stays at the organisation and is never a feature. */
  readonly identifier: string;
  readonly ignored: readonly string[];
  /** Sensitive columns may be features only with a reason, which goes to the audit log. */
  readonly permissions: readonly ColumnPermission[];
};

export type MappedColumn = {
  readonly column: string;
  readonly kind: RecordColumn["kind"];
  /** Ordinal: required, from lowest to highest. Categorical: default all that enough records share. */
  readonly values?: readonly string[];
  /** How much the column counts in distances; default 1. */
  readonly weight?: number;
};

export type ColumnPermission = { readonly column: string; readonly reason: string };
