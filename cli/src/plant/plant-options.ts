import type { PlantAccess } from "@smile/custody/plant/open-plant";
import { Command, Option } from "commander";
import { shared, whole } from "../options.ts";
import { passphraseOf } from "./passphrase-prompt.ts";

/** Options of every command on a plant that is there. */
export type PlantOptions = { readonly plantFolder: string; readonly passphraseFile?: string; readonly json?: boolean };

const DAY_MS = 86_400_000;
/** Two years: gateways are out of the way, and the status tells a month ahead. */
const CERTIFICATE_DAYS = 730;
const RETAIN_DAYS = 30;

export const plantOptions = {
  passphraseFile: () =>
    new Option("--passphrase-file <file>", "one line, mode 0600; else SMILE_PASSPHRASE_FILE, SMILE_PASSPHRASE, or a prompt"),
  days: () => new Option("--days <n>", "how long the certificate is in force").argParser(whole(1, 3650)).default(CERTIFICATE_DAYS),
  request: () => new Option("--request", "write a signing request for an authority of yours instead of issuing the certificate"),
  retainDays: (what: string) => new Option("--retain-days <n>", what).argParser(whole(0, 36_500)).default(RETAIN_DAYS),
};

/** A command on a plant that is there. @param example arguments, without `smile plant` */
export function plantSubcommand(name: string, description: string, example: string): Command {
  return new Command(name)
    .description(description)
    .option("--plant-folder <folder>", "what `smile plant init` made", ".")
    .addOption(plantOptions.passphraseFile())
    .addOption(shared.json())
    .addHelpText("after", `\nExample: smile plant ${example}`);
}

/** Asks for the passphrase where nothing else gives it. @throws {PipelineError} as `passphraseOf` */
export async function accessOf({ plantFolder, passphraseFile: file }: PlantOptions, signal: AbortSignal): Promise<PlantAccess> {
  const passphrase = await passphraseOf({ env: process.env, file, signal });
  return { folder: plantFolder, passphrase, env: process.env, nowMs: Date.now() };
}

export const daysToMs = (days: number) => days * DAY_MS;
