import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import type { FourierLift } from "./spec.ts";

/** The random projection of a Fourier lift: `directions` is [width][dimension] row by row, `phases` [width] in [0, 2 pi). */
export type Projection = { readonly directions: Float64Array; readonly phases: Float64Array };

const remembered = new Map<string, Projection>();
const rememberedAtMost = 8;

/**
 * Directions R ~ N(0, 1) * bandwidth * sqrt(2 / dimension) and phases b ~ U[0, 2 pi), so that the dot product of two vectors
 * sqrt(2 / width) cos(xR + b) approaches a Gaussian kernel (Rahimi and Recht, "Random Features for Large-Scale Kernel Machines",
 * 2007). The same seed gives the same numbers on every machine: they are part of the feature set, never stored.
 * @param dimension width of the standardised vector x
 */
export function projection(lift: FourierLift, dimension: number): Projection {
  const key = `${lift.seed}/${lift.width}/${lift.bandwidth}/${dimension}`;
  const known = remembered.get(key);
  if (known) return known;
  const random = xoroshiro128plus(lift.seed);
  const directions = new Float64Array(lift.width * dimension);
  const scale = lift.bandwidth * Math.sqrt(2 / dimension);
  for (let i = 0; i < directions.length; i += 2) {
    // Box and Muller (1958); 1 - u is in (0, 1], where the logarithm is finite.
    const radius = scale * Math.sqrt(-2 * Math.log(1 - uniformFloat64(random)));
    const angle = 2 * Math.PI * uniformFloat64(random);
    directions[i] = radius * Math.cos(angle);
    if (i + 1 < directions.length) directions[i + 1] = radius * Math.sin(angle);
  }
  const phases = Float64Array.from({ length: lift.width }, () => 2 * Math.PI * uniformFloat64(random));
  const made = { directions, phases };
  if (remembered.size >= rememberedAtMost) remembered.delete(remembered.keys().next().value as string);
  remembered.set(key, made);
  return made;
}

/**
 * xR + b, four directions at a time because loading x is what costs. Every sum runs over x in order, so the result does not
 * depend on the grouping.
 * @param x [>= dimension] standardised features; read only in [0, dimension)
 * @param out [width] receives the angles
 */
export function project({ directions, phases }: Projection, dimension: number, x: Float64Array, out: Float64Array): void {
  const width = phases.length;
  const whole = width - (width % 4);
  for (let k = 0; k < whole; k += 4) {
    let i = k * dimension;
    let a = phases[k]!;
    let b = phases[k + 1]!;
    let c = phases[k + 2]!;
    let d = phases[k + 3]!;
    for (let j = 0; j < dimension; j++, i++) {
      const value = x[j]!;
      a += value * directions[i]!;
      b += value * directions[i + dimension]!;
      c += value * directions[i + 2 * dimension]!;
      d += value * directions[i + 3 * dimension]!;
    }
    out[k] = a;
    out[k + 1] = b;
    out[k + 2] = c;
    out[k + 3] = d;
  }
  for (let k = whole; k < width; k++) {
    let sum = phases[k]!;
    for (let j = 0; j < dimension; j++) sum += x[j]! * directions[k * dimension + j]!;
    out[k] = sum;
  }
}
