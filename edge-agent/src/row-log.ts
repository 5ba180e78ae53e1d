import { PipelineError } from "@smile/errors/pipeline-error";

/** A row that the lift took, with its sensors and settings in the order of the feature set. */
export type LoggedRow = { readonly machine: string; readonly timeMs: number; readonly values: readonly number[] };

/** Bytes that a row takes up beside its machine's name. */
export function rowBytes({ values }: LoggedRow): number {
  return 8 * (values.length + 2);
}

/**
 * Rows as one block of bytes: the length of a head in JSON, the head with what the rows have in common, padded to eight bytes, then
 * each row's machine (its place in the head), time and values as binary64 in this computer's byte order.
 */
export function packRows(rows: readonly LoggedRow[]): Uint8Array {
  const machines = new Map<string, number>();
  for (const { machine } of rows) if (!machines.has(machine)) machines.set(machine, machines.size);
  const width = rows[0]?.values.length ?? 0;
  const head = Buffer.from(JSON.stringify({ machines: [...machines.keys()], width }));
  const from = numbersFrom(head.length);
  const numbers = new Float64Array(from / 8 + rows.length * (width + 2));
  const bytes = new Uint8Array(numbers.buffer);
  new DataView(numbers.buffer).setUint32(0, head.length, true);
  bytes.set(head, 4);
  let at = from / 8;
  for (const { machine, timeMs, values } of rows) {
    numbers[at] = machines.get(machine)!;
    numbers[at + 1] = timeMs;
    for (let i = 0; i < width; i++) numbers[at + 2 + i] = values[i]!;
    at += width + 2;
  }
  return bytes;
}

/**
 * The reverse of `packRows`.
 * @throws {PipelineError} FILE_DAMAGED
 */
export function unpackRows(packed: Uint8Array): LoggedRow[] {
  const bytes = packed.slice(); // aligned
  try {
    const length = new DataView(bytes.buffer).getUint32(0, true);
    const { machines, width } = JSON.parse(Buffer.from(bytes.subarray(4, 4 + length)).toString()) as { machines: string[]; width: number };
    const numbers = new Float64Array(bytes.buffer, numbersFrom(length));
    const rows = numbers.length / (width + 2);
    if (!Number.isInteger(rows)) throw new RangeError(`${numbers.length} numbers are no rows of ${width}`);
    return Array.from({ length: rows }, (_, i) => {
      const at = i * (width + 2);
      const machine = machines[numbers[at]!];
      if (machine === undefined) throw new RangeError("a row of no machine");
      return { machine, timeMs: numbers[at + 1]!, values: [...numbers.subarray(at + 2, at + 2 + width)] };
    });
  } catch (error) {
    throw new PipelineError("FILE_DAMAGED", "rows in the store cannot be read", { bytes: packed.length }, error);
  }
}

function numbersFrom(headBytes: number): number {
  return Math.ceil((4 + headBytes) / 8) * 8;
}
