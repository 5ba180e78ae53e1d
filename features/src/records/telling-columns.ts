import { type PermittedColumn, refuseIdentifier, refuseSensitive } from "./check-mapping.ts";
import type { ColumnSurvey } from "./column-survey.ts";
import { identifyingByContent } from "./identifying-columns.ts";
import { sensitiveByContent } from "./sensitive-columns.ts";

/**
 * Refuses a feature whose values tell who somebody is, or something sensitive that nobody permitted, whatever its name says.
 * @throws {PipelineError} IDENTIFIER_AS_FEATURE, SENSITIVE_COLUMN, naming the column
 */
export function refuseTelling(survey: ColumnSurvey, permitted: readonly PermittedColumn[]): void {
  const { column } = survey;
  const sign = identifyingByContent(survey);
  if (sign !== null) refuseIdentifier(column, sign);
  const kind = sensitiveByContent(survey.counts);
  if (kind !== null && !permitted.some((permission) => permission.column === column)) refuseSensitive(column, kind, "its values");
}
