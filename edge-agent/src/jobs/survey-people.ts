import type { KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { type PermittedColumn, refuseMapping } from "@smile/features/records/check-mapping";
import { RecordGuard } from "@smile/features/records/record-guard";
import type { RecordFeatureSet, RecordMapping } from "@smile/features/records/record-spec";
import { isMissing } from "@smile/features/records/record-values";
import { passRecords, type RecordFile } from "./csv-records.ts";
import { pseudonymOf } from "./pseudonyms.ts";

/** Fewer people make no group that may be shown, so nothing of them needs to leave. */
const LEAST_PEOPLE = 10;

/** What is known of a file before the first of its records leaves. */
export type SurveyedPeople = RecordFile & {
  readonly permitted: readonly PermittedColumn[];
  /** [records] */
  readonly pseudonyms: BigUint64Array;
};

/**
 * Reads a file once: its lines are sound, its features tell nobody's name and nothing sensitive without a permission, each record is
 * somebody's.
 * @throws {PipelineError} as `readCsvRecords` and `RecordGuard`; RECORDS_TOO_FEW for fewer than ten; MAPPING_INVALID for an identifier
 *   that a record lacks; the signal's reason when it is aborted
 */
export async function surveyPeople(
  path: string,
  { mapping, featureSet, key }: { readonly mapping: RecordMapping; readonly featureSet: RecordFeatureSet; readonly key: KeyObject },
  signal: AbortSignal,
): Promise<SurveyedPeople> {
  const guard = new RecordGuard(mapping, featureSet);
  let pseudonyms = new BigUint64Array(1024);
  let count = 0;
  const file = await passRecords(path, (record) => {
    signal.throwIfAborted();
    guard.add(record);
    const identifier = record[mapping.identifier]!;
    if (isMissing(identifier.trim())) refuseMapping(mapping.identifier, `is the identifier and missing in record ${count + 1}`);
    if (count === pseudonyms.length) {
      const longer = new BigUint64Array(2 * count);
      longer.set(pseudonyms);
      pseudonyms = longer;
    }
    pseudonyms[count++] = pseudonymOf(key, identifier);
  });
  const { records } = file;
  if (records < LEAST_PEOPLE) {
    throw new PipelineError("RECORDS_TOO_FEW", `${path} has ${records} records; a job needs at least ${LEAST_PEOPLE}`, { path, records });
  }
  return { ...file, permitted: guard.check(), pseudonyms: pseudonyms.subarray(0, count) };
}
