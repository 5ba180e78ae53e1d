/** Base64 of the numbers as little-endian binary64: exact, and cheaper to write than decimal text. */
export function packNumbers(numbers: ArrayLike<number>): string {
  const bytes = Buffer.allocUnsafe(numbers.length * 8);
  for (let i = 0; i < numbers.length; i++) bytes.writeDoubleLE(numbers[i]!, i * 8);
  return bytes.toString("base64");
}

/** The reverse of `packNumbers`. @returns null unless the text holds exactly `length` finite numbers */
export function unpackNumbers(text: unknown, length: number): Float64Array | null {
  if (typeof text !== "string" || !Number.isInteger(length)) return null;
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== length * 8) return null;
  const numbers = new Float64Array(length);
  for (let i = 0; i < length; i++) numbers[i] = bytes.readDoubleLE(i * 8);
  return numbers.every(Number.isFinite) ? numbers : null;
}
