import { readFileSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Environment } from "@smile/runtime/config";
import { checkPrivate } from "@smile/runtime/private-file";

export type PassphraseSources = {
  readonly env: Environment;
  /** Path of a file with the passphrase as its one line; goes before SMILE_PASSPHRASE_FILE. */
  readonly file?: string | undefined;
  /** Asks a person, where there is one to ask. */
  readonly ask?: (() => Promise<string>) | undefined;
};

/**
 * The passphrase of a plant's sealed files, from the first of: `file`, the file that SMILE_PASSPHRASE_FILE names, SMILE_PASSPHRASE,
 * `ask`. No error quotes it.
 * @returns at least one character
 * @throws {PipelineError} PASSPHRASE_MISSING when there is none, or an empty one; FILE_MISSING; CONFIG_INVALID for a file that
 *   others may read or that has several lines; whatever `ask` rejects with
 */
export async function passphraseFrom({ env, file, ask }: PassphraseSources): Promise<string> {
  const path = file || env.SMILE_PASSPHRASE_FILE;
  const passphrase = path ? readPassphrase(path) : env.SMILE_PASSPHRASE || (await ask?.());
  if (passphrase) return passphrase;
  throw new PipelineError(
    "PASSPHRASE_MISSING",
    path ? `passphrase file ${path} is empty` : "no passphrase was given",
    path ? { path } : {},
  );
}

function readPassphrase(path: string): string {
  checkPrivate(path, "passphrase file");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `passphrase file ${path} cannot be read`, { path }, error);
  }
  const line = text.replace(/\r?\n$/, "");
  if (/[\r\n]/.test(line)) throw new PipelineError("CONFIG_INVALID", `${path}: a passphrase file has one line`, { path });
  return line;
}
