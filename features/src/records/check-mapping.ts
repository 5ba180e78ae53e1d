import { PipelineError } from "@smile/errors/pipeline-error";
import { identifyingByName } from "./identifying-columns.ts";
import type { RecordMapping } from "./record-spec.ts";
import { type SensitiveKind, sensitiveByName } from "./sensitive-columns.ts";

/** A sensitive column that is a feature because somebody gave a reason: for the audit log. */
export type PermittedColumn = { readonly column: string; readonly kind: SensitiveKind | "declared"; readonly reason: string };

const SHORTEST_REASON = 10;
/** More categories, or places in an order, than this are no segmentation's business. */
export const MOST_CATEGORIES = 64;

export function refuseMapping(column: string, rule: string): never {
  throw new PipelineError("MAPPING_INVALID", `column "${column}" ${rule}`, { column });
}

export function refuseIdentifier(column: string, sign: string): never {
  throw new PipelineError("IDENTIFIER_AS_FEATURE", `column "${column}" names people and can be no feature: ${sign}`, { column });
}

export function refuseSensitive(column: string, kind: SensitiveKind, sign: string): never {
  throw new PipelineError("SENSITIVE_COLUMN", `column "${column}" tells a person's ${kind} by ${sign}, and no permission names it`, {
    column,
    kind,
  });
}

/**
 * What can be said of a mapping without any record.
 * @param header the file's columns, when it is known: each must be named, and each that is used must be there
 * @returns the permissions that features make use of
 * @throws {PipelineError} MAPPING_INVALID, IDENTIFIER_AS_FEATURE, SENSITIVE_COLUMN, naming the column
 */
export function checkMapping(mapping: RecordMapping, header?: readonly string[]): PermittedColumn[] {
  const { columns, identifier, ignored, permissions } = mapping;
  if (columns.length === 0) throw new PipelineError("MAPPING_INVALID", "columns is empty; a mapping needs at least one feature");
  const features = columns.map(({ column }) => column);
  if (features.includes(identifier)) refuseIdentifier(identifier, "the mapping has it as the identifier");
  const named = [...features, identifier, ...ignored];
  const seen = new Set<string>();
  for (const column of named) {
    if (seen.has(column)) refuseMapping(column, "is named twice");
    seen.add(column);
  }
  checkShapes(mapping);
  if (header !== undefined) {
    for (const column of header) if (!seen.has(column)) refuseMapping(column, "of the file is neither feature, identifier nor ignored");
    for (const column of [...features, identifier]) if (!header.includes(column)) refuseMapping(column, "is not in the file");
  }
  for (const column of features) {
    const sign = identifyingByName(column);
    if (sign !== null) refuseIdentifier(column, sign);
  }
  const permitted = permissions.map(({ column, reason }): PermittedColumn => {
    if (!features.includes(column)) refuseMapping(column, "has a permission but is no feature");
    if (reason.trim().length < SHORTEST_REASON) refuseMapping(column, `needs a reason of at least ${SHORTEST_REASON} letters`);
    return { column, kind: sensitiveByName(column) ?? "declared", reason: reason.trim() };
  });
  for (const column of features) {
    const kind = sensitiveByName(column);
    if (kind !== null && !permissions.some((permission) => permission.column === column)) refuseSensitive(column, kind, "its name");
  }
  return permitted;
}

function checkShapes({ columns, permissions }: RecordMapping): void {
  for (const { column, kind, values, weight = 1 } of columns) {
    if (!(Number.isFinite(weight) && weight > 0)) refuseMapping(column, "needs a weight above 0");
    if (kind === "ordinal" && (values === undefined || values.length < 2)) refuseMapping(column, "needs its values in order, at least two");
    if (kind === "numeric" && values !== undefined) refuseMapping(column, "is numeric and takes no values");
    if (values !== undefined && values.length > MOST_CATEGORIES)
      refuseMapping(column, `lists ${values.length} values; group them to at most ${MOST_CATEGORIES}`);
    if (values !== undefined && new Set(values).size !== values.length) refuseMapping(column, "names a value twice");
  }
  const permitted = permissions.map(({ column }) => column);
  const twice = permitted.find((column, i) => permitted.indexOf(column) !== i);
  if (twice !== undefined) refuseMapping(twice, "has two permissions");
}
