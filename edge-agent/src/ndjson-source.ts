import type { Row } from "@smile/features/spec";
import type { RowBatch, RowSource } from "./source.ts";
import { unlessStopped } from "./unless-stopped.ts";

/** A line that is no row. Never carries a value of it. */
export type MalformedLine = { readonly line: number; readonly field: string; readonly reason: string };

export type NdjsonOptions = {
  /** Sensors and settings that a row must carry as numbers; other values of a line are left alone. */
  readonly required: readonly string[];
  /** Told of each line that was refused. */
  readonly onMalformed?: (line: MalformedLine) => void;
  /** Bytes of the longest line that is read; a longer one is skipped to its end. */
  readonly longestLine?: number;
};

const newline = 0x0a;

/**
 * Rows from newline-delimited JSON, `{"machine": "press-7", "timeMs": 1700000000000, "values": {"vibration": 0.2}}` per line.
 * A line that is no row is refused by its number and field, and the next one goes on. Positions are bytes behind whole lines.
 * Such a stream cannot be told to go back: after a crash, whoever writes it starts anew wherever it likes.
 * @param input binary chunks, as standard input or a file gives them; pulled, so that a pipe's writer waits for the agent
 */
export function ndjsonSource(input: AsyncIterable<Uint8Array>, options: NdjsonOptions): RowSource {
  return { batches: (stop) => readBatches(input, options, stop), ack() {} };
}

async function* readBatches(input: AsyncIterable<Uint8Array>, options: NdjsonOptions, stop: AbortSignal): AsyncGenerator<RowBatch> {
  const longest = options.longestLine ?? 1 << 20;
  const parts: Uint8Array[] = [];
  let waiting = 0;
  let skipping = false;
  let line = 0;
  let position = 0;
  let rows: Row[] = [];
  let malformed = 0;

  const refuse = (field: string, reason: string): undefined => {
    malformed++;
    options.onMalformed?.({ line, field, reason });
  };
  const endLine = () => {
    line++;
    if (skipping) refuse("line", `is longer than ${longest} bytes`);
    else {
      const text = Buffer.concat(parts).toString("utf8").trim();
      const row = text === "" ? undefined : readRow(text, options.required, refuse);
      if (row) rows.push(row);
    }
    parts.length = 0;
    waiting = 0;
    skipping = false;
  };
  const keep = (part: Uint8Array) => {
    waiting += part.length;
    skipping ||= waiting > longest;
    if (skipping) parts.length = 0;
    else if (part.length > 0) parts.push(part);
  };

  for await (const chunk of untilStopped(input, stop)) {
    let from = 0;
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      keep(chunk.subarray(from, at));
      position += waiting + 1;
      endLine();
      from = at + 1;
    }
    keep(chunk.subarray(from));
    if (rows.length === 0 && malformed === 0) continue;
    yield { rows, position, malformed };
    rows = [];
    malformed = 0;
  }
  if (stop.aborted || waiting === 0) return;
  position += waiting;
  endLine();
  if (rows.length > 0 || malformed > 0) yield { rows, position, malformed };
}

/** The chunks of a stream until its end or until `stop`, even while no chunk comes. */
async function* untilStopped(input: AsyncIterable<Uint8Array>, stop: AbortSignal): AsyncGenerator<Uint8Array> {
  const chunks = input[Symbol.asyncIterator]();
  try {
    while (!stop.aborted) {
      const next = await unlessStopped(chunks.next(), stop);
      if (next === undefined || next.done) return;
      yield next.value;
    }
  } finally {
    // A pipe without a next chunk would keep `return` waiting; whoever opened the stream destroys it.
    if (!stop.aborted) await chunks.return?.();
  }
}

function readRow(text: string, required: readonly string[], refuse: (field: string, reason: string) => undefined): Row | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return refuse("line", "is not JSON"); // the parser's own message would quote values
  }
  const { machine, timeMs, values } = (parsed ?? {}) as Partial<Record<keyof Row, unknown>>;
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return refuse("line", "is not a JSON object");
  if (typeof machine !== "string" || machine === "") return refuse("machine", "is not a name");
  if (typeof timeMs !== "number" || !Number.isFinite(timeMs)) return refuse("timeMs", "is not a number");
  if (typeof values !== "object" || values === null || Array.isArray(values)) return refuse("values", "is not an object");
  for (const name of required) {
    if (!Object.hasOwn(values, name)) return refuse(`values.${name}`, "is missing");
    if (typeof (values as Record<string, unknown>)[name] !== "number") return refuse(`values.${name}`, "is not a number");
  }
  return { machine, timeMs, values: values as Row["values"] };
}
