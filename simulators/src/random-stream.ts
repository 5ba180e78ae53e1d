import { hash } from "node:crypto";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";

/** A source of random numbers; every draw moves it on, a clone goes its own way from the same place. */
export type RandomStream = ReturnType<typeof xoroshiro128plusFromState>;

/**
 * The random numbers of one purpose. Streams of different paths are independent of each other and of how many of them are in use,
 * so that a fleet of 5 machines behaves as the first 5 of a fleet of 500.
 * @param path what the numbers are for, for instance a machine's index and "noise"
 */
export function randomStream(seed: number, ...path: readonly (string | number)[]): RandomStream {
  const digest = hash("sha256", JSON.stringify([seed, ...path]), "buffer");
  return xoroshiro128plusFromState([0, 4, 8, 12].map((at) => digest.readInt32LE(at)));
}

/** Uniform in [low, high). */
export function uniform(random: RandomStream, low: number, high: number): number {
  return low + (high - low) * uniformFloat64(random);
}

/** Normal with mean 0 and deviation 1 (Box and Muller, 1958); takes two draws. */
export function gaussian(random: RandomStream): number {
  const radius = Math.sqrt(-2 * Math.log(1 - uniformFloat64(random))); // 1 - u is in (0, 1], where the logarithm is finite
  return radius * Math.cos(2 * Math.PI * uniformFloat64(random));
}

/** Log-normal with median 1; `deviation` is that of the logarithm. */
export function logNormal(random: RandomStream, deviation: number): number {
  return Math.exp(deviation * gaussian(random));
}

/** Exponential with the given mean. */
export function exponential(random: RandomStream, mean: number): number {
  return -mean * Math.log(1 - uniformFloat64(random));
}

/** True with the given probability. */
export function happens(random: RandomStream, probability: number): boolean {
  return uniformFloat64(random) < probability;
}
