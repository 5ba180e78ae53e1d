import { type WorkforceOptions, workforce } from "./workforce.ts";
import { workforceColumns } from "./workforce-columns.ts";

/** The column that carries the truth, when it is asked for. */
export const PLANTED_SEGMENT = "planted_segment";

/**
 * A workforce as lines of CSV (RFC 4180), header first, each with its line end. Made while it is read.
 * @param options `truth` adds the column `planted_segment`
 * @throws {RangeError} when a number of the options is out of range
 */
export async function* workforceCsv({
  truth = false,
  ...options
}: WorkforceOptions & { readonly truth?: boolean }): AsyncGenerator<string, void, undefined> {
  yield line(truth ? [...workforceColumns, PLANTED_SEGMENT] : workforceColumns);
  for (const { record, segment } of workforce(options)) {
    const cells = workforceColumns.map((column) => record[column]!);
    yield line(truth ? [...cells, String(segment)] : cells);
  }
}

const line = (cells: readonly string[]) => `${cells.map(quoted).join(",")}\r\n`;
const quoted = (cell: string) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
