import { isPipelineError } from "@smile/errors/pipeline-error";
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  addIntegers,
  addInto,
  addMultiples,
  pack,
  packedLength,
  pick,
  type Residues,
  residueAt,
  setResidue,
  spread,
  unpack,
} from "../src/residues.ts";

const modulus = fc
  .integer({ min: 33, max: 60 })
  .chain((bits) => fc.bigInt({ min: 2n ** BigInt(bits - 1) + 1n, max: 2n ** BigInt(bits) - 1n }));
/** A modulus and 1 to 70 residues, with the edges 0 and q - 1 and the edges of the 32-bit words among them. */
const polynomial = modulus.chain((q) =>
  fc.record({
    q: fc.constant(q),
    values: fc.array(fc.oneof(fc.constantFrom(0n, 1n, q - 1n, 0xffffffffn, 0x1_0000_0000n), fc.bigInt({ min: 0n, max: q - 1n })), {
      minLength: 1,
      maxLength: 70,
    }),
  }),
);

function residuesOf(values: readonly bigint[]): Residues {
  const residues = new Uint32Array(2 * values.length);
  for (const [i, value] of values.entries()) {
    residues[2 * i] = Number(value & 0xffffffffn);
    residues[2 * i + 1] = Number(value >> 32n);
  }
  return residues;
}

/** The bit stream written with one big integer, as a reference. */
function reference(values: readonly bigint[], bits: number): Uint8Array {
  let stream = values.reduceRight((rest, value) => (rest << BigInt(bits)) | value, 0n);
  return Uint8Array.from({ length: packedLength(values.length, bits) }, () => {
    const byte = Number(stream & 0xffn);
    stream >>= 8n;
    return byte;
  });
}

const bitsOf = (q: bigint) => q.toString(2).length;
const codeOf = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    return isPipelineError(error) ? error.code : error;
  }
  return "accepted";
};

it("every residue of every width from 33 to 60 bits comes back, and its bytes are the plain bit stream", () => {
  fc.assert(
    fc.property(polynomial, ({ q, values }) => {
      const bytes = pack(residuesOf(values), bitsOf(q));
      expect(bytes).toEqual(reference(values, bitsOf(q)));
      expect(unpack(bytes, values.length, q)).toEqual(residuesOf(values));
    }),
    { numRuns: 1000, seed: 5 },
  );
});

it("unpacks out of the middle of another buffer", () => {
  const values = [1n, 2n ** 39n - 1n, 5n];
  const packed = pack(residuesOf(values), 40);
  const around = Buffer.alloc(packed.length + 7, 0xff);
  around.set(packed, 3);
  expect(unpack(around.subarray(3, 3 + packed.length), 3, 2n ** 40n - 87n)).toEqual(residuesOf(values));
});

it("a residue of q, q + 1 or all ones is refused wherever it stands", () => {
  fc.assert(
    fc.property(polynomial, fc.nat(), fc.constantFrom(0, 1, 2), (p, at, which) => {
      const bits = bitsOf(p.q);
      const ones = 2n ** BigInt(bits) - 1n;
      const bad = [p.q, p.q + 1n > ones ? p.q : p.q + 1n, ones][which]!;
      const values = p.values.with(at % p.values.length, bad);
      expect(codeOf(() => unpack(reference(values, bits), values.length, p.q))).toBe("RESIDUE_OUT_OF_RANGE");
    }),
    { numRuns: 500, seed: 6 },
  );
});

it("bytes of another length are refused", () => {
  fc.assert(
    fc.property(polynomial, fc.integer({ min: -9, max: 9 }), ({ q, values }, change) => {
      fc.pre(change !== 0);
      const bytes = new Uint8Array(Math.max(0, packedLength(values.length, bitsOf(q)) + change));
      fc.pre(bytes.length !== packedLength(values.length, bitsOf(q)));
      expect(codeOf(() => unpack(bytes, values.length, q))).toBe("FRAME_WRONG_LENGTH");
    }),
    { numRuns: 200, seed: 7 },
  );
});

it("each bit of the padding behind the last residue must be zero", () => {
  const q = 2n ** 53n - 111n;
  for (const count of [1, 2, 3, 5, 7]) {
    const bytes = pack(residuesOf(Array.from({ length: count }, () => q - 1n)), 53);
    const padding = bytes.length * 8 - count * 53;
    for (let bit = 0; bit < padding; bit++) {
      const spoilt = Uint8Array.from(bytes);
      spoilt[spoilt.length - 1]! |= 0x80 >> bit;
      expect(codeOf(() => unpack(spoilt, count, q))).toBe("RESIDUE_OUT_OF_RANGE");
    }
  }
});

it("addition modulo q equals that of big integers", () => {
  fc.assert(
    fc.property(
      polynomial,
      fc.array(fc.bigInt({ min: 0n, max: 2n ** 60n }), { minLength: 70, maxLength: 70 }),
      fc.boolean(),
      ({ q, values }, others, edge) => {
        const addend = values.map((value, i) => (edge ? (q - value) % q : others[i]! % q));
        const sum = residuesOf(values);
        addInto(sum, residuesOf(addend), q);
        expect(sum).toEqual(residuesOf(values.map((value, i) => (value + addend[i]!) % q)));
      },
    ),
    { numRuns: 500, seed: 8 },
  );
});

it("any integer, negative ones too, is set as its residue", () => {
  fc.assert(
    fc.property(modulus, fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), (q, value) => {
      const residues = new Uint32Array(4);
      setResidue(residues, 1, value, q);
      expect(residueAt(residues, 1)).toBe(((value % q) + q) % q);
      expect(residueAt(residues, 0)).toBe(0n);
    }),
    { numRuns: 300, seed: 9 },
  );
});

it("adds integers of either sign to single residues, modulo q, as whole numbers would", () => {
  const integer = fc.oneof(
    fc.maxSafeInteger(),
    // What flooding is: a power of two times a number of 41 bits, beyond 2^53 in all.
    fc.tuple(fc.integer({ min: -(2 ** 30), max: 2 ** 30 }), fc.nat(29)).map(([x, bits]) => x * 2 ** bits),
  );
  fc.assert(
    fc.property(polynomial, fc.array(integer, { minLength: 70, maxLength: 70 }), ({ q, values }, integers) => {
      const added = integers.slice(0, values.length).map((x) => (BigInt(Math.abs(x)) < q ? x : x % Number(q >> 1n)));
      const at = values.map((_, i) => values.length - 1 - i);
      const target = residuesOf(values);
      addIntegers(target, at, added, q);
      at.forEach((i, k) => {
        expect(residueAt(target, i)).toBe((((values[i]! + BigInt(added[k]!)) % q) + q) % q);
      });
    }),
    { seed: 31, numRuns: 500 },
  );
});

it("adds small multiples of a power of two, modulo q", () => {
  const sums = polynomial.chain(({ q, values }) =>
    fc.record({
      q: fc.constant(q),
      values: fc.constant(values),
      // 21 times it is below q.
      log: fc.integer({ min: 0, max: bitsOf(q) - 7 }),
      factors: fc.array(fc.integer({ min: -21, max: 21 }), { minLength: values.length, maxLength: values.length }),
    }),
  );
  fc.assert(
    fc.property(sums, ({ q, values, log, factors }) => {
      const target = residuesOf(values);
      addMultiples(target, 2 ** log, Int8Array.from(factors), q);
      values.forEach((value, i) => {
        expect(residueAt(target, i)).toBe((((value + BigInt(factors[i]!) * 2n ** BigInt(log)) % q) + q) % q);
      });
    }),
    { seed: 32, numRuns: 500 },
  );
});

it("picks residues in the order asked for, and spreads them over zeros", () => {
  const residues = residuesOf([5n, 6n, 7n, 2n ** 40n]);
  const picked = pick(residues, [3, 1]);
  expect(picked).toEqual(residuesOf([2n ** 40n, 6n]));
  expect(spread(picked, [3, 1], new Uint32Array(8).fill(9))).toEqual(residuesOf([0n, 6n, 0n, 2n ** 40n]));
});
