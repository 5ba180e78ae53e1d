import { PipelineError } from "@smile/errors/pipeline-error";
import { checkMapping, MOST_CATEGORIES, type PermittedColumn, refuseMapping } from "./check-mapping.ts";
import { coarseDeviation, coarseMean, coarseShare } from "./coarse-numbers.ts";
import { ColumnSurvey } from "./column-survey.ts";
import type { MappedColumn, RecordColumn, RecordFeatureSet, RecordMapping, RecordValues } from "./record-spec.ts";
import { refuseTelling } from "./telling-columns.ts";

/** Fewer records than this would make means that tell about single people. */
export const LEAST_RECORDS = 50;
/** A category that fewer records share is not named in the feature set; who has it counts as unknown. */
export const LEAST_PER_CATEGORY = 10;
/** Share of the present values that must be numbers, or listed, for a column to be what its mapping says. */
const LEAST_UNDERSTOOD = 0.9;

export type FittedRecordFeatureSet = {
  readonly featureSet: RecordFeatureSet;
  /** Sensitive features and why they are: write these to the audit log. */
  readonly permitted: readonly PermittedColumn[];
  /** How many categories were left unnamed because fewer than ten records share each, by column. */
  readonly rare: Readonly<Record<string, number>>;
  readonly records: number;
};

export type FitOptions = {
  /** Default 4: no value counts for more than four deviations in a distance. */
  readonly clip?: number;
  /** Default 8. */
  readonly bits?: number;
};

/**
 * Learns means, deviations and shares in one pass over records that the analyst may see. What it publishes is rounded, so that one
 * person more or less hardly ever shows.
 * @param records at least 50; the first one's columns are taken for the file's
 * @throws {PipelineError} MAPPING_INVALID, IDENTIFIER_AS_FEATURE, SENSITIVE_COLUMN naming the column; RECORDS_TOO_FEW
 */
export function fitRecordFeatureSet(
  mapping: RecordMapping,
  records: Iterable<RecordValues>,
  { clip = 4, bits = 8 }: FitOptions = {},
): FittedRecordFeatureSet {
  const features = mapping.columns.map(({ column }) => new ColumnSurvey(column));
  const identifier = new ColumnSurvey(mapping.identifier);
  let permitted: PermittedColumn[] = [];
  let count = 0;
  for (const record of records) {
    if (count === 0) permitted = checkMapping(mapping, Object.keys(record));
    count++;
    identifier.add(record);
    for (const survey of features) survey.add(record);
  }
  if (count < LEAST_RECORDS)
    throw new PipelineError("RECORDS_TOO_FEW", `a feature set needs at least ${LEAST_RECORDS} records, not ${count}`, { records: count });
  if (identifier.missing > 0) refuseMapping(mapping.identifier, `is the identifier and missing in ${identifier.missing} records`);
  if (identifier.counts.size < identifier.noted) refuseMapping(mapping.identifier, "is the identifier and names two records alike");

  const rare: Record<string, number> = {};
  const columns = mapping.columns.map((mapped, i): RecordColumn => {
    const survey = features[i]!;
    checkContent(mapped, survey, permitted);
    if (mapped.kind === "numeric") return fitNumeric(mapped, survey);
    if (mapped.kind === "ordinal") return fitOrdinal(mapped, survey);
    const fitted = fitCategorical(mapped, survey);
    if (fitted.rare > 0) rare[mapped.column] = fitted.rare;
    return fitted.column;
  });
  const featureSet: RecordFeatureSet = { kind: "record-feature-set", version: 1, name: mapping.name, columns, clip, quantise: { bits } };
  return { featureSet, permitted, rare, records: count };
}

function checkContent({ column }: MappedColumn, survey: ColumnSurvey, permitted: readonly PermittedColumn[]): void {
  if (survey.present < LEAST_RECORDS) refuseMapping(column, `has a value in ${survey.present} records only`);
  refuseTelling(survey, permitted);
  const commonest = survey.counts.values().reduce((most, count) => Math.max(most, count), 0);
  // Else the column would single out the few who differ.
  if (survey.present - commonest < LEAST_PER_CATEGORY)
    refuseMapping(column, `has the same value in all but fewer than ${LEAST_PER_CATEGORY} records: ignore it`);
}

function fitNumeric({ column, weight = 1 }: MappedColumn, survey: ColumnSurvey): RecordColumn {
  const share = survey.numbers / survey.present;
  if (share < LEAST_UNDERSTOOD)
    refuseMapping(column, `is numeric, but ${percent(1 - share)} of its values are no numbers with a decimal point`);
  return { kind: "numeric", column, ...moments(column, survey.mean, survey.deviation), weight };
}

function fitOrdinal({ column, values = [], weight = 1 }: MappedColumn, survey: ColumnSurvey): RecordColumn {
  const counts = values.map((value) => survey.counts.get(value) ?? 0);
  const known = counts.reduce((sum, n) => sum + n, 0);
  const share = known / survey.present;
  if (share < LEAST_UNDERSTOOD) refuseMapping(column, `has ${percent(1 - share)} of its values outside the order that the mapping lists`);
  const mean = counts.reduce((sum, n, position) => sum + n * position, 0) / known;
  const variance = counts.reduce((sum, n, position) => sum + n * (position - mean) ** 2, 0) / known;
  return { kind: "ordinal", column, values, ...moments(column, mean, Math.sqrt(variance)), weight };
}

function fitCategorical({ column, values, weight = 1 }: MappedColumn, survey: ColumnSurvey): { column: RecordColumn; rare: number } {
  const candidates = values ?? [...survey.counts.keys()].toSorted();
  const shared = candidates.filter((value) => (survey.counts.get(value) ?? 0) >= LEAST_PER_CATEGORY);
  if (shared.length < 2) refuseMapping(column, `has fewer than two categories that at least ${LEAST_PER_CATEGORY} records share`);
  if (shared.length > MOST_CATEGORIES) refuseMapping(column, `has ${shared.length} categories; group them to at most ${MOST_CATEGORIES}`);
  const shares = shared.map((value) => coarseShare(survey.counts.get(value)! / survey.present));
  return { column: { kind: "categorical", column, values: shared, shares, weight }, rare: candidates.length - shared.length };
}

function moments(column: string, mean: number, deviation: number): { mean: number; deviation: number } {
  if (!(deviation > 1e-9 * Math.max(1, Math.abs(mean)))) refuseMapping(column, "hardly varies: ignore it");
  return { mean: coarseMean(mean, deviation), deviation: coarseDeviation(deviation) };
}

const percent = (share: number) => `${Math.ceil(share * 100)} %`;
