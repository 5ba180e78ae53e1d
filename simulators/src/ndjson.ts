import { PipelineError } from "@smile/errors/pipeline-error";
import type { Row } from "@smile/features/spec";

/** A row as one line of newline-delimited JSON, without the newline: what `smile simulate` writes and an edge agent reads. */
export function toNdjson(row: Row): string {
  return JSON.stringify({ machine: row.machine, timeMs: row.timeMs, values: row.values });
}

/**
 * Reads one line of newline-delimited JSON.
 * @param lineNumber from 1, for the error
 * @throws {PipelineError} ROW_MALFORMED naming the line and the field, never what it holds
 */
export function parseNdjsonRow(line: string, lineNumber: number): Row {
  const refuse = (field: string, rule: string): never => {
    throw new PipelineError("ROW_MALFORMED", `line ${lineNumber}: ${field} ${rule}`, { lineNumber, field });
  };
  const row = asObject(parseJson(line)) ?? refuse("the line", "is no JSON object");
  for (const key of Object.keys(row))
    if (key !== "machine" && key !== "timeMs" && key !== "values")
      refuse("the line", "has a field that is none of machine, timeMs, values");
  const { machine, timeMs } = row;
  if (typeof machine !== "string" || machine === "") return refuse("machine", "is no text of at least one character");
  if (typeof timeMs !== "number" || !Number.isSafeInteger(timeMs)) return refuse("timeMs", "is no whole number of milliseconds");
  const values = asObject(row.values) ?? refuse("values", "is no object of numbers by sensor");
  for (const [sensor, value] of Object.entries(values))
    if (typeof value !== "number") refuse(`values.${sensor.slice(0, 64)}`, "is no number");
  return { machine, timeMs, values: values as Record<string, number> };
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line); // the parser's own message quotes the line, so it is not passed on
  } catch {
    return undefined;
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
}
