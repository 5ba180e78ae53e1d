const WORDS = 4096;
const ROUNDS = 24;
const words = new Uint32Array(WORDS);

/**
 * A fixed piece of 32-bit integer work, some 0.2 ms: multiply, shift, add with carry and store, which is what packing, unpacking
 * and adding residues do. Times are told as multiples of it, so that figures of a slower, busier or hotter machine can be compared.
 * Never change it: every stored baseline is in these units.
 * @returns a checksum, the same at every call
 */
export function calibrationWork(): number {
  for (let i = 0; i < WORDS; i++) words[i] = Math.imul(i, 0x9e3779b1);
  let carry = 1;
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < WORDS; i++) {
      const sum = (Math.imul(words[i]!, 0x85ebca6b) >>> 0) + carry;
      const low = sum >>> 0;
      carry = (sum > low ? 1 : 0) + (low >>> 19);
      words[i] = (low << 13) | (low >>> 19);
    }
  }
  let checksum = 0;
  for (let i = 0; i < WORDS; i++) checksum = (checksum + words[i]!) >>> 0;
  return checksum;
}
