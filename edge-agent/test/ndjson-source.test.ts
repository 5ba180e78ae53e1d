import { Readable } from "node:stream";
import fc from "fast-check";
import { expect, it } from "vitest";
import { type MalformedLine, ndjsonSource } from "../src/ndjson-source.ts";
import type { RowBatch } from "../src/source.ts";

async function read(chunks: Iterable<Uint8Array>, longestLine = 1 << 20) {
  const refused: MalformedLine[] = [];
  const source = ndjsonSource(Readable.from(chunks), { required: ["heat"], longestLine, onMalformed: (line) => refused.push(line) });
  const batches: RowBatch[] = [];
  for await (const batch of source.batches(new AbortController().signal)) batches.push(batch);
  return { refused, rows: batches.flatMap(({ rows }) => rows), batches };
}

const good = (machine: string, timeMs: number) => JSON.stringify({ machine, timeMs, values: { heat: 1.5, note: "extra" } });

it("refuses a malformed line by its number and field, without its values, and reads all others", async () => {
  const lines = [
    good("a", 1),
    "{ not json 4711",
    '{"machine":"","timeMs":2,"values":{"heat":1}}',
    '{"machine":"a","timeMs":"soon","values":{"heat":1}}',
    '{"machine":"a","timeMs":2,"values":{"heat":"4711"}}',
    '{"machine":"a","timeMs":2,"values":{}}',
    "",
    "[1]",
    good("b", 9),
  ];
  const { rows, refused, batches } = await read([Buffer.from(lines.join("\n"))]);
  expect(rows.map(({ machine, timeMs }) => `${machine}${timeMs}`)).toEqual(["a1", "b9"]);
  expect(refused.map(({ line, field }) => `${line} ${field}`)).toEqual([
    "2 line",
    "3 machine",
    "4 timeMs",
    "5 values.heat",
    "6 values.heat",
    "8 line",
  ]);
  expect(batches.reduce((sum, { malformed }) => sum + malformed, 0)).toBe(6);
  expect(JSON.stringify(refused)).not.toContain("4711");
});

it("skips a line beyond the bound without keeping it, and reads the next", async () => {
  const { rows, refused } = await read([Buffer.from("x".repeat(300)), Buffer.from(`${"x".repeat(300)}\n${good("a", 1)}\n`)], 200);
  expect(rows.length).toBe(1);
  expect(refused).toEqual([{ line: 1, field: "line", reason: "is longer than 200 bytes" }]);
});

it("reads the same rows wherever chunks are cut, and positions end at the last byte", async () => {
  const text = Buffer.from(["é", "b", "machine-3"].map((machine, i) => good(machine, i)).join("\n"));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(text.length), { maxLength: 8 }), async (cuts) => {
      const at = [0, ...cuts.toSorted((a, b) => a - b), text.length];
      const { rows, batches } = await read(at.slice(1).map((end, i) => text.subarray(at[i], end)));
      expect(rows.map(({ machine, timeMs }) => `${machine}${timeMs}`)).toEqual(["é0", "b1", "machine-32"]);
      expect(batches.at(-1)?.position).toBe(text.length);
    }),
    { seed: 7, numRuns: 60 },
  );
});

it("ends on the stop signal while no line comes", async () => {
  const stop = new AbortController();
  const silent = new Readable({ read() {} });
  const batches = ndjsonSource(silent, { required: [] }).batches(stop.signal)[Symbol.asyncIterator]();
  const next = batches.next();
  stop.abort();
  expect((await next).done).toBe(true);
  silent.destroy();
});
