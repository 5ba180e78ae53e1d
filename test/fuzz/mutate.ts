/** Whole numbers from 0 to below a limit, the same for the same seed (mulberry32). */
export type Dice = (below: number) => number;

export function diceOf(seed: number): Dice {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Longest input: what fits the largest array that a codec reads, and more. */
const MAX_INPUT_BYTES = 16_384;

/** Avro's zigzag varints that somebody might believe, as lengths, counts, branches or numbers; some end late, one not at all. */
const VARINTS = [
  0n,
  1n,
  -1n,
  2n,
  64n,
  4097n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 40n,
  -(2n ** 52n) - 1n,
  2n ** 53n - 2n,
  2n ** 53n,
  2n ** 63n - 1n,
]
  .map((value) => {
    const bytes: number[] = [];
    let rest = value < 0n ? -2n * value - 1n : 2n * value;
    for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
    return Uint8Array.from([...bytes, Number(rest)]);
  })
  .concat([1, 9, 160].map((groups) => Uint8Array.from([...Array<number>(groups).fill(0x80), 0])))
  .concat([Uint8Array.from(Array<number>(11).fill(0xff))]);

type Mutation = (input: Uint8Array, dice: Dice, corpus: readonly Uint8Array[], words: readonly Uint8Array[]) => Uint8Array;

/** The input with `removed` bytes at `at` replaced. */
const replaced = (input: Uint8Array, at: number, removed: number, by: Uint8Array): Uint8Array =>
  Buffer.concat([input.subarray(0, at), by, input.subarray(Math.min(input.length, at + removed))]);
const varintLength = (input: Uint8Array, at: number): number => {
  let end = at;
  while (end < input.length && input[end]! >= 0x80) end++;
  return end - at + 1;
};
const pick = <T>(items: readonly T[], dice: Dice): T => items[dice(items.length)]!;

const otherVarint: Mutation = (input, dice) => {
  const at = dice(input.length);
  return replaced(input, at, varintLength(input, at), pick(VARINTS, dice));
};

const MUTATIONS: readonly Mutation[] = [
  // A bit; a byte; a few bytes away, doubled, or set to one value.
  (input, dice) => {
    const at = dice(input.length);
    return Uint8Array.from(input).with(at, input[at]! ^ (1 << dice(8)));
  },
  (input, dice) => Uint8Array.from(input).with(dice(input.length), dice(256)),
  (input, dice) => replaced(input, dice(input.length), 1 + dice(8), new Uint8Array(0)),
  (input, dice) => {
    const at = dice(input.length);
    return replaced(input, at, 0, input.subarray(at, at + 1 + dice(64)));
  },
  (input, dice) => replaced(input, dice(input.length + 1), pick([0, 1, 32], dice), new Uint8Array(1 + dice(32)).fill(dice(256))),
  (input, dice) => input.slice(0, dice(input.length)),
  // Another number where one may stand, twice as often as the others; one more or less.
  otherVarint,
  otherVarint,
  (input, dice) => {
    const at = dice(input.length);
    return Uint8Array.from(input).with(at, input[at]! + pick([2, -2, 1, -1], dice));
  },
  // A length or count, and as many bytes behind it.
  (input, dice) => {
    const items = dice(5000);
    const count = Uint8Array.of(((2 * items) & 127) | 128, ((2 * items) >> 7) | (items >= 8192 ? 128 : 0));
    return replaced(input, dice(input.length + 1), dice(2), Buffer.concat([count, new Uint8Array(items).fill(dice(2))]));
  },
  // The head of this one and the tail of another.
  (input, dice, corpus) => {
    const other = pick(corpus, dice);
    return Buffer.concat([input.subarray(0, dice(input.length + 1)), other.subarray(dice(other.length + 1))]);
  },
  // A word of the language, in the place of something or between.
  (input, dice, _, words) => (words.length === 0 ? input : replaced(input, dice(input.length + 1), dice(6), pick(words, dice))),
];

/**
 * A child of one of the corpus, never longer than `MAX_INPUT_BYTES`. A third descends from the seeds, which are the furthest from being
 * refused, and a third from the newest, which have been tried least.
 * @param seeds how many of the corpus, from its start, are seeds
 */
export function mutate(corpus: readonly Uint8Array[], seeds: number, words: readonly Uint8Array[], dice: Dice): Uint8Array {
  let input = pick([corpus.slice(0, seeds), corpus.slice(-3), corpus][dice(3)]!, dice);
  for (let left = pick([1, 1, 2, 4], dice); left > 0; left--) {
    input = input.length === 0 ? pick(corpus, dice) : pick(MUTATIONS, dice)(input, dice, corpus, words);
  }
  return input.subarray(0, MAX_INPUT_BYTES);
}
