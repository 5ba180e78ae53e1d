import fc from "fast-check";
import { expect, it } from "vitest";
import { bitPackedLength, packBits, unpackBits } from "../src/bit-packing.ts";

const numbers = fc.integer({ min: 1, max: 52 }).chain((bits) =>
  fc.record({
    bits: fc.constant(bits),
    values: fc.array(
      fc.oneof(
        fc.constantFrom(0, 2 ** bits - 1),
        fc.maxSafeInteger().map((x) => Math.abs(x) % 2 ** bits),
      ),
      {
        minLength: 1,
        maxLength: 70,
      },
    ),
  }),
);

it("unpacks what it packed, at every width, and packs it to the same bytes again", () => {
  fc.assert(
    fc.property(numbers, ({ bits, values }) => {
      const packed = packBits(Float64Array.from(values), bits);
      expect(packed.length).toBe(bitPackedLength(values.length, bits));
      const unpacked = unpackBits(packed, values.length, bits);
      expect(Array.from(unpacked!)).toEqual(values);
      expect(packBits(unpacked!, bits)).toEqual(packed);
    }),
    { numRuns: 500, seed: 61 },
  );
});

it("is one stream of bits, the lowest first: as if the numbers were the digits of one large one", () => {
  fc.assert(
    fc.property(numbers, ({ bits, values }) => {
      const whole = values.reduceRight((sum, value) => (sum << BigInt(bits)) + BigInt(value), 0n);
      const packed = packBits(Float64Array.from(values), bits);
      expect(packed.reduceRight((sum, byte) => (sum << 8n) + BigInt(byte), 0n)).toBe(whole);
    }),
    { numRuns: 200, seed: 62 },
  );
});

it("takes bytes of exactly the right length only, with nothing in the padding", () => {
  const packed = packBits(Float64Array.of(1, 2, 3), 11);
  expect(unpackBits(packed, 3, 11)).toEqual(Float64Array.of(1, 2, 3));
  for (const wrong of [packed.subarray(1), Uint8Array.of(...packed, 0), new Uint8Array(0)])
    expect(unpackBits(wrong, 3, 11)).toBeUndefined();
  for (let bit = 33 % 8; bit < 8; bit++) expect(unpackBits(packed.with(4, packed[4]! | (1 << bit)), 3, 11)).toBeUndefined();
});
