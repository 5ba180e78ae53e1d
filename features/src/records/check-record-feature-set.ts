import { PipelineError } from "@smile/errors/pipeline-error";
import type { RecordColumn, RecordFeatureSet } from "./record-spec.ts";

function refuse(field: string, rule: string): never {
  throw new PipelineError("DOCUMENT_INVALID", `record feature set: ${field} ${rule}`, { field });
}

const positive = (value: number) => Number.isFinite(value) && value > 0;

/** @throws {PipelineError} DOCUMENT_INVALID naming the field that records cannot be encoded with */
export function checkRecordFeatureSet(set: RecordFeatureSet): void {
  const { columns, clip, quantise } = set;
  if (columns.length === 0) refuse("columns", "is empty");
  if (new Set(columns.map(({ column }) => column)).size !== columns.length) refuse("columns", "names a column twice");
  columns.forEach((column, i) => {
    checkColumn(`columns[${i}]`, column);
  });
  if (!positive(clip)) refuse("clip", "is not a positive number");
  if (!Number.isInteger(quantise.bits) || quantise.bits < 2 || quantise.bits > 16)
    refuse("quantise.bits", `is ${quantise.bits}; it must be a whole number from 2 to 16`);
}

function checkColumn(field: string, column: RecordColumn): void {
  if (column.column === "") refuse(`${field}.column`, "is empty");
  if (!positive(column.weight)) refuse(`${field}.weight`, "is not a positive number");
  if (column.kind !== "numeric") checkValues(`${field}.values`, column.values, column.kind === "ordinal" ? 2 : 1);
  if (column.kind === "categorical") {
    if (column.shares.length !== column.values.length)
      refuse(`${field}.shares`, `needs one entry for each of ${column.values.length} values`);
    if (!column.shares.every((share) => share > 0 && share < 1)) refuse(`${field}.shares`, "has an entry that is not between 0 and 1");
    return;
  }
  if (!Number.isFinite(column.mean)) refuse(`${field}.mean`, "is not a finite number");
  if (!positive(column.deviation)) refuse(`${field}.deviation`, "is not a positive number");
}

function checkValues(field: string, values: readonly string[], least: number): void {
  if (values.length < least) refuse(field, `needs at least ${least}`);
  if (new Set(values).size !== values.length) refuse(field, "names a value twice");
  if (values.some((value) => value !== value.trim() || value === "")) refuse(field, "has a value that is empty or not trimmed");
}
