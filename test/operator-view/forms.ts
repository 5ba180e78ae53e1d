import type { Sentinel } from "./sentinel.ts";

/** Numbers, texts and secrets in the forms in which somebody would write them. */

export function text(kind: string, value: string): Sentinel {
  return { kind, form: "text", bytes: Buffer.from(value) };
}

/**
 * Digits of a number that are looked for. All longer renderings begin with them; logs and metrics hold some 10^5 sequences of as many digits,
 * so with fewer, one of thousands of numbers would be found by chance.
 */
const DIGITS = 12;

/** One number in float64, and in digits: fixed or with an exponent, cut or rounded. */
export function double(kind: string, value: number): Sentinel[] {
  const little = Buffer.alloc(8);
  little.writeDoubleLE(value);
  const exponential = (digits: number) => Math.abs(value).toExponential(digits - 1);
  const cut = (rendering: string) => /^[\d.]*\d/.exec(rendering)![0].slice(0, DIGITS + 1);
  const mantissas = new Set([cut(exponential(DIGITS)), cut(exponential(DIGITS + 4))]);
  const fixed = new Set([...mantissas].map((mantissa) => withoutExponent(mantissa, value)));
  return [
    { kind, form: "float64 little endian", bytes: little },
    { kind, form: "float64 big endian", bytes: Buffer.from(little).reverse() },
    ...[...mantissas].map((digits) => ({ kind, form: "digits and exponent", bytes: Buffer.from(digits) })),
    ...[...fixed].map((digits) => ({ kind, form: "digits", bytes: Buffer.from(digits) })),
  ];
}

/** The digits with the point where the number has it. */
function withoutExponent(mantissa: string, value: number): string {
  const digits = mantissa.replace(".", "");
  const before = Math.floor(Math.log10(Math.abs(value))) + 1;
  if (before <= 0) return `0.${"0".repeat(-before)}${digits}`;
  return before >= digits.length ? digits : `${digits.slice(0, before)}.${digits.slice(before)}`;
}

type Writer = (value: number) => Buffer;

function writer(bytes: number, write: (into: Buffer, value: number) => void): Writer {
  return (value) => {
    const into = Buffer.alloc(bytes);
    write(into, value);
    return into;
  };
}

/** Binary forms of a number, all of the same length. */
const BINARY: readonly { readonly form: string; readonly write: Writer; readonly bits: number }[] = [
  { form: "int8", write: writer(1, (into, value) => into.writeInt8(value)), bits: 8 },
  { form: "int16 little endian", write: writer(2, (into, value) => into.writeInt16LE(value)), bits: 16 },
  { form: "int16 big endian", write: writer(2, (into, value) => into.writeInt16BE(value)), bits: 16 },
  { form: "int32 little endian", write: writer(4, (into, value) => into.writeInt32LE(value)), bits: 32 },
  { form: "int32 big endian", write: writer(4, (into, value) => into.writeInt32BE(value)), bits: 32 },
  { form: "int64 little endian", write: writer(8, (into, value) => into.writeBigInt64LE(BigInt(value))), bits: 53 },
  { form: "int64 big endian", write: writer(8, (into, value) => into.writeBigInt64BE(BigInt(value))), bits: 53 },
  { form: "float32 little endian", write: writer(4, (into, value) => into.writeFloatLE(value)), bits: 53 },
  { form: "float32 big endian", write: writer(4, (into, value) => into.writeFloatBE(value)), bits: 53 },
  { form: "float64 little endian", write: writer(8, (into, value) => into.writeDoubleLE(value)), bits: 53 },
  { form: "float64 big endian", write: writer(8, (into, value) => into.writeDoubleBE(value)), bits: 53 },
  { form: "Avro", write: zigzag, bits: 53 },
];

/** A long as Avro writes it. */
function zigzag(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value < 0 ? -2n * BigInt(value) - 1n : 2n * BigInt(value);
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

/**
 * Whole numbers that belong together, in every binary form: each `run` of them, wherever it begins.
 * @param bits of the largest, with its sign: forms that are too small for it are left out
 */
export function integerRuns(kind: string, values: readonly number[], run: number, bits: number): Sentinel[] {
  return BINARY.filter((form) => form.bits >= bits).flatMap(({ form, write }) => runs(kind, form, values.map(write), run));
}

/** Numbers that belong together in float32, where one alone would have 4 bytes. */
export function floatRuns(kind: string, values: readonly number[], run: number): Sentinel[] {
  return BINARY.filter(({ form }) => form.startsWith("float32")).flatMap(({ form, write }) => runs(kind, form, values.map(write), run));
}

export function runs(kind: string, form: string, written: readonly Buffer[], run: number): Sentinel[] {
  return written
    .slice(0, Math.max(0, written.length - run + 1))
    .map((_, from) => ({ kind, form, bytes: Buffer.concat(written.slice(from, from + run)) }));
}

/** A whole number in digits of its own. */
export function wholeNumber(kind: string, value: number): Sentinel {
  return { kind, form: "digits", bytes: Buffer.from(String(Math.abs(value))), wholeNumber: true };
}

/**
 * Bytes that are random: of every 15 in a row, one piece of 8. What of it is not random, such as the high bytes of small words, is left out.
 */
export function secret(kind: string, bytes: Uint8Array): Sentinel[] {
  const pieces: Sentinel[] = [];
  for (let from = 0; from + 8 <= bytes.length; from += 8) {
    const piece = Buffer.from(bytes.subarray(from, from + 8));
    if (new Set(piece).size >= 5) pieces.push({ kind, form: "bytes", bytes: piece });
  }
  return pieces;
}
