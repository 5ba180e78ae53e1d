import { checkMapping, type PermittedColumn, refuseMapping } from "./check-mapping.ts";
import { ColumnSurvey } from "./column-survey.ts";
import type { RecordFeatureSet, RecordMapping, RecordValues } from "./record-spec.ts";
import { refuseTelling } from "./telling-columns.ts";

/** Values are looked at in the first so many records: one column is alike all over a file. */
const LOOKED_AT = 20_000;

/**
 * Stands before records that are to be encoded by somebody else's feature set: only columns that the organisation's own mapping has as
 * features may be, and their values are looked at as they are when a feature set is learned.
 */
export class RecordGuard {
  readonly #mapping: RecordMapping;
  readonly #surveys: readonly ColumnSurvey[];
  #permitted: readonly PermittedColumn[] = [];
  #records = 0;

  /** @throws {PipelineError} MAPPING_INVALID for a column of the feature set that the mapping does not have as such a feature */
  constructor(mapping: RecordMapping, set: Pick<RecordFeatureSet, "columns">) {
    for (const { column, kind } of set.columns) {
      const mapped = mapping.columns.find((each) => each.column === column);
      if (mapped === undefined) refuseMapping(column, "is asked for by the deployment and no feature of the mapping");
      if (mapped.kind !== kind) refuseMapping(column, `is ${kind} in the deployment and ${mapped.kind} in the mapping`);
    }
    this.#mapping = mapping;
    this.#surveys = set.columns.map(({ column }) => new ColumnSurvey(column));
  }

  /** @throws {PipelineError} as `checkMapping`, at the first record, which says what columns the file has */
  add(record: RecordValues): void {
    if (this.#records++ === 0) {
      const used = new Set(this.#surveys.map(({ column }) => column));
      this.#permitted = checkMapping(this.#mapping, Object.keys(record)).filter(({ column }) => used.has(column));
    }
    if (this.#records > LOOKED_AT) return;
    for (const survey of this.#surveys) survey.add(record);
  }

  /**
   * Behind the last record.
   * @returns the permissions that the encoded columns make use of: for the audit log
   * @throws {PipelineError} IDENTIFIER_AS_FEATURE, SENSITIVE_COLUMN, naming the column
   */
  check(): readonly PermittedColumn[] {
    for (const survey of this.#surveys) refuseTelling(survey, this.#permitted);
    return this.#permitted;
  }
}
