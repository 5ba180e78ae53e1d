import fc from "fast-check";
import { expect, it } from "vitest";
import { packRows, unpackRows } from "../src/row-log.ts";

const number = fc.double({ noNaN: true });
const rowsOf = (width: number) =>
  fc.array(
    fc.record({ machine: fc.string({ maxLength: 9 }), timeMs: number, values: fc.array(number, { minLength: width, maxLength: width }) }),
    { minLength: 1, maxLength: 20 },
  );

it("gives rows back bit for bit, of machines of any name and any number of fields", () => {
  fc.assert(
    fc.property(fc.nat(12).chain(rowsOf), fc.nat(7), (rows, shift) => {
      const bytes = packRows(rows);
      const shifted = new Uint8Array(bytes.length + shift);
      shifted.set(bytes, shift);
      expect(unpackRows(shifted.subarray(shift))).toEqual(rows);
    }),
    { seed: 5, numRuns: 100 },
  );
});

it("refuses bytes that are no rows", () => {
  const bytes = packRows([{ machine: "a", timeMs: 1, values: [1, 2] }]);
  const unknown = bytes.slice();
  unknown[bytes.length - 32 + 7] = 0x40; // the place of its machine
  for (const damaged of [new Uint8Array(0), bytes.subarray(0, bytes.length - 8), bytes.map((byte, i) => (i === 0 ? 0xff : byte)), unknown])
    expect(() => unpackRows(damaged)).toThrow(expect.objectContaining({ code: "FILE_DAMAGED" }));
});
