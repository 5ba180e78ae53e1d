/** What the operator must not have, as one of the ways in which somebody would write it. */
export type Sentinel = {
  /** What it is: "machine name", "score". */
  readonly kind: string;
  /** How it is written here. */
  readonly form: string;
  readonly bytes: Buffer;
  /** A number in digits of its own: what is a part of a longer number, or stands behind a point, is another one. */
  readonly wholeNumber?: boolean;
};

/**
 * The least that is looked for. Two sides are weighed here: some 10^5 patterns meet some 10^7 bytes, many of them random, so that a pattern
 * of 4 bytes would be found by chance about 200 times, one of 6 bytes in one run of 300, and one of 8 bytes in one of 10^7. So a number of
 * fewer bytes is looked for together with those that stand beside it: a score in 32 bits with the two scores that follow, 8 features in a row.
 */
export const LEAST_BYTES = 6;
