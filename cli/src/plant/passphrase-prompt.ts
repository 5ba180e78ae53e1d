import password from "@inquirer/password";
import { passphraseFrom } from "@smile/custody/passphrase";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Environment } from "@smile/runtime/config";

/** For new plants; what stands there keeps the passphrase that it has. */
const LEAST_CHARACTERS = 8;

export type PassphraseOptions = {
  readonly env: Environment;
  readonly file: string | undefined;
  readonly signal: AbortSignal;
  /** What it opens, for a person; default "the plant". */
  readonly what?: string;
};

/**
 * The passphrase of a plant: from a file, the environment, or the person at the terminal.
 * @throws {PipelineError} PASSPHRASE_MISSING also where there is neither, or the person gave up; as `passphraseFrom`
 */
export async function passphraseOf({ env, file, signal, what = "the plant" }: PassphraseOptions): Promise<string> {
  return await passphraseFrom({ env, file, ask: isTerminal() ? () => ask(`Passphrase of ${what}`, signal) : undefined });
}

/** A passphrase for something new: a person types it twice. @throws {PipelineError} CONFIG_INVALID for a short one; as `passphraseOf` */
export async function newPassphrase({ env, file, signal, what = "the plant's secrets" }: PassphraseOptions): Promise<string> {
  const askTwice = async () => {
    const first = await ask(`Passphrase for ${what}`, signal);
    if ((await ask("The same once more", signal)) === first) return first;
    throw new PipelineError("PASSPHRASE_MISSING", "the two passphrases differ");
  };
  const passphrase = await passphraseFrom({ env, file, ask: isTerminal() ? askTwice : undefined });
  if (passphrase.length >= LEAST_CHARACTERS) return passphrase;
  throw new PipelineError("CONFIG_INVALID", `a passphrase has at least ${LEAST_CHARACTERS} characters`, { field: "passphrase" });
}

function isTerminal(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** On standard error: standard output is for what programs read. */
async function ask(message: string, signal: AbortSignal): Promise<string> {
  try {
    return await password({ message, mask: true }, { output: process.stderr, signal });
  } catch {
    // Ctrl-C, or the end of its input: never quoted, since the cause may hold what was typed.
    throw new PipelineError("PASSPHRASE_MISSING", "no passphrase was given");
  }
}
