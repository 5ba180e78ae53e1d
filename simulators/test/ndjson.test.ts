import fc from "fast-check";
import { expect, it } from "vitest";
import { parseNdjsonRow, toNdjson } from "../src/ndjson.ts";

const row = fc.record({
  machine: fc.string({ minLength: 1 }),
  timeMs: fc.maxSafeInteger(),
  values: fc.dictionary(
    fc.string().filter((name) => name !== "__proto__"),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
  ),
});

it("reads back every row that it writes, each on one line", () => {
  fc.assert(
    fc.property(row, (given) => {
      const line = toNdjson(given);
      expect(line).not.toContain("\n");
      expect(JSON.stringify(parseNdjsonRow(line, 1))).toBe(line);
    }),
    { seed: 11 },
  );
});

it.each([
  ["not JSON 98765", "the line"],
  ["[98765]", "the line"],
  ['{"machine":98765,"timeMs":1,"values":{}}', "machine"],
  ['{"machine":"a","timeMs":98765.5,"values":{}}', "timeMs"],
  ['{"machine":"a","timeMs":1,"values":[98765]}', "values"],
  ['{"machine":"a","timeMs":1,"values":{"speed":"98765"}}', "values.speed"],
  ['{"machine":"a","timeMs":1,"values":{},"x":98765}', "the line"],
])("refuses %s, naming line and field but not the value", (line, field) => {
  try {
    parseNdjsonRow(line, 17);
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ code: "ROW_MALFORMED", facts: { lineNumber: 17, field } });
    expect(String(error)).not.toContain("98765");
  }
});
