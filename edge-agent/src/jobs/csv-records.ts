import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { RecordValues } from "@smile/features/records/record-spec";
import { CsvError, parse } from "csv-parse";

/** How many records a file has, and the SHA-256 of all its bytes: what a job is bound to. */
export type RecordFile = { readonly records: number; readonly fileHash: string };

/** Characters of the longest record: a quote that is never closed must not take the rest of the file into memory. */
const longestRecord = 1 << 20;

/** What a person is told of a fault. The parser's own sentences may quote a value. */
const faults: Readonly<Record<string, string>> = {
  CSV_INVALID_CLOSING_QUOTE: "has a character behind a closing quote",
  CSV_MAX_RECORD_SIZE: `belongs to a record of more than ${longestRecord} characters; a quote may be open`,
  CSV_QUOTE_NOT_CLOSED: "is in a quote that is never closed",
  CSV_RECORD_INCONSISTENT_COLUMNS: "has not as many fields as the header",
  INVALID_OPENING_QUOTE: "has a quote in a field that does not begin with one",
};

/**
 * Records of a CSV file (UTF-8, with or without a byte order mark; commas; quotes doubled; empty lines left out), in the file's order,
 * by the names in its first line. Memory does not grow with the file.
 * @param fileHash the file must still have it, which shows behind the last record
 * @throws {PipelineError} FILE_MISSING; ROW_MALFORMED with the line, never with a value; JOB_CHANGED for another `fileHash`
 */
export async function* readCsvRecords(path: string, fileHash?: string): AsyncGenerator<RecordValues, void, undefined> {
  const found = yield* readAndHash(path);
  if (fileHash !== undefined && found !== fileHash) throw new PipelineError("JOB_CHANGED", `${path} is not the file that it was`, { path });
}

/**
 * Reads the whole file once, so every line of it is known to be sound.
 * @throws {PipelineError} as readCsvRecords
 */
export async function countRecords(path: string): Promise<RecordFile> {
  return await passRecords(path, () => {});
}

/**
 * As `countRecords`, and shows every record on its way.
 * @throws {PipelineError} as readCsvRecords; what `onRecord` throws
 */
export async function passRecords(path: string, onRecord: (record: RecordValues) => void): Promise<RecordFile> {
  const reader = readAndHash(path);
  try {
    for (let records = 0; ; records++) {
      const step = await reader.next();
      if (step.done) return { records, fileHash: step.value };
      onRecord(step.value);
    }
  } finally {
    await reader.return(""); // closes the file where the reading was given up
  }
}

async function* readAndHash(path: string): AsyncGenerator<RecordValues, string, undefined> {
  const bytes = createHash("sha256");
  let hasHeader = false;
  const columns = (header: string[]) => {
    checkHeader(path, header);
    hasHeader = true;
    return header;
  };
  const parser = parse({ bom: true, columns, skip_empty_lines: true, max_record_size: longestRecord });
  const source = createReadStream(path);
  source.on("data", (chunk) => bytes.update(chunk));
  // Either end that fails or is left destroys the other; the error comes out of the parser.
  pipeline(source, parser, () => {});
  try {
    for await (const record of parser) yield record as RecordValues;
  } catch (error) {
    throw named(path, error);
  }
  if (!hasHeader) throw malformed(path, 1, "is missing; it has to name the columns");
  return bytes.digest("hex");
}

/** Names no column: without a header, the first line is a person's. */
function checkHeader(path: string, header: readonly string[]): void {
  const seen = new Set<string>();
  header.forEach((name, i) => {
    if (name.trim() === "") throw malformed(path, 1, `has no name for column ${i + 1}`);
    if (seen.has(name)) throw malformed(path, 1, `has the name of column ${i + 1} twice`);
    seen.add(name);
  });
}

function named(path: string, error: unknown): unknown {
  if (error instanceof CsvError) return malformed(path, Number(error.lines), faults[error.code] ?? `cannot be read (${error.code})`);
  const { syscall, code } = error as NodeJS.ErrnoException;
  // Only the system's code: what else the parser throws may carry a record.
  if (!isPipelineError(error) && syscall !== undefined) {
    return new PipelineError("FILE_MISSING", `record file ${path} cannot be read (${code})`, { path });
  }
  return error;
}

function malformed(path: string, line: number, what: string): PipelineError {
  return new PipelineError("ROW_MALFORMED", `${path}: line ${line} ${what}`, { path, line });
}
