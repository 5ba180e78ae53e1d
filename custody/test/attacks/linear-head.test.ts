import { plan } from "@smile/he/planner";
import { expect, it } from "vitest";
import { seededRandom } from "../../../he/test/arbitrary-heads.ts";
import { openLoop } from "../encrypted-loop.ts";

/**
 * An attack that succeeds by nature, whatever the cryptography: a head has F weights and a bias, and each exact score is one linear
 * equation in them. F + 1 windows in general position determine it, and fit into one reply.
 */
const PRIME = 2n ** 61n - 1n;
const mod = (x: bigint) => ((x % PRIME) + PRIME) % PRIME;
function inverse(x: bigint): bigint {
  let result = 1n;
  for (let base = mod(x), e = PRIME - 2n; e > 0n; e >>= 1n, base = (base * base) % PRIME) if (e & 1n) result = (result * base) % PRIME;
  return result;
}

/** The one integer solution of rows * x = values with |x| < 2^60, by elimination modulo a prime; undefined when there are many. */
function solve(rows: readonly (readonly number[])[], values: readonly number[]): number[] | undefined {
  const width = rows[0]!.length;
  const system = rows.map((row, i) => [...row, values[i]!].map((x) => mod(BigInt(x))));
  for (let column = 0; column < width; column++) {
    const pivot = system.findIndex((row, i) => i >= column && row[column] !== 0n);
    if (pivot < 0) return undefined;
    [system[column], system[pivot]] = [system[pivot]!, system[column]!];
    const scale = inverse(system[column]![column]!);
    const lead = system[column]!.map((x) => mod(x * scale));
    system.forEach((row, i) => {
      system[i] = i === column ? lead : row.map((x, k) => mod(x - row[column]! * lead[k]!));
    });
  }
  return system.slice(0, width).map((row) => Number(row[width]! > PRIME / 2n ? row[width]! - PRIME : row[width]!));
}

const F = 32;
const random = seededRandom(45);
const whole = (bound: number) => Math.round((2 * random() - 1) * bound);
const weights = Array.from({ length: F }, () => whole(1023));
const head = { weights: [weights], bias: [whole(2 ** 20)] };

it.each(["compact", "sanitised"] as const)(
  "F + 1 exact scores of everyday windows give all weights and the bias, to the last bit, out of one %s reply",
  async (modelPrivacy) => {
    const planned = plan({ featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy });
    using loop = await openLoop(planned);
    const windows = Array.from({ length: F + 1 }, (_, lane) => ({ lane, features: Array.from({ length: F }, () => whole(127)) }));
    const [scores] = loop.scores(
      head,
      [loop.frame(windows)],
      windows.map(({ lane }) => lane),
    );
    const rows = windows.map(({ features }) => [...features, 1]);
    expect(solve(rows, scores!)).toEqual([...weights, head.bias[0]]);
    // One window less leaves a line of heads that fit.
    expect(solve(rows.slice(0, F), scores!.slice(0, F))).toBeUndefined();
  },
);
