import { cmapssSets } from "@smile/simulators/cmapss";
import { InvalidArgumentError, Option } from "commander";

/** A whole number of a range. */
export function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least || value > most)
      throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
    return value;
  };
}

function atLeastZero(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0) throw new InvalidArgumentError("It must be a number of at least 0.");
  return value;
}

/** Options that several commands share, each with one meaning. */
export const shared = {
  replay: () =>
    new Option(
      "--replay <folder>",
      "NASA's turbofan data instead of the simulated fleet: a folder with train_, test_ and RUL_ files (.txt or .txt.gz)",
    ),
  set: () => new Option("--set <name>", "which set of that folder").choices(cmapssSets).default("FD001"),
  machines: () => new Option("--machines <n>", "simulated machines").argParser(whole(1, 100_000)).default(96),
  gateways: () => new Option("--gateways <n>", "gateways that share the machines").argParser(whole(1, 64)).default(6),
  steps: () => new Option("--steps <n>", "simulated hours").argParser(whole(24, 100_000)).default(320),
  seed: () => new Option("--seed <n>", "seed of the simulation").argParser(whole(0, 2 ** 31)).default(7),
  pace: (ms: number) =>
    new Option("--pace <ms>", "time between two simulated hours; 0 is as fast as it goes").argParser(whole(0, 60_000)).default(ms),
  keyMode: () =>
    new Option("--key-mode <mode>", "public: one key for the plant; symmetric: one per gateway, half the bytes")
      .choices(["public", "symmetric"])
      .default("public"),
  privacy: () =>
    new Option("--privacy <profile>", "of the model: compact (N = 2048 where it fits) or sanitised (N = 4096, flooding of 2^30)")
      .choices(["compact", "sanitised"])
      .default("compact"),
  maxMerges: () => new Option("--max-merges <n>", "frames added into one ciphertext at most").argParser(whole(1, 64)).default(8),
  lanes: () =>
    new Option(
      "--lanes <n>",
      "windows per ciphertext at the least, by a larger ring: fewer and larger messages, for plants of thousands of machines",
    )
      .argParser(whole(1, 4096))
      .default(1),
  precision: () =>
    new Option(
      "--precision <n>",
      "smaller replies, rounded so that no risk changes by more than this, in the model's unit; such scores stay within the plant. " +
        "0: exact scores",
    )
      .argParser(atLeastZero)
      .default(0),
  wholeReplies: () => new Option("--whole-replies", "exact replies of full size, for plants whose software reads no others"),
  json: () => new Option("--json", "one JSON object on the last line, for programs"),
};
