import { join } from "node:path";
import { initPlant } from "@smile/custody/plant/init-plant";
import { WITHOUT_TLS } from "@smile/runtime/tls-config";
import { Command } from "commander";
import { shared } from "../options.ts";
import { newPassphrase } from "./passphrase-prompt.ts";
import { plantOptions } from "./plant-options.ts";
import { report, serviceLine } from "./report.ts";

type InitOptions = {
  plant: string;
  deployment: string;
  out: string;
  service?: string;
  authority?: string;
  tls: boolean;
  passphraseFile?: string;
  days: number;
  json?: boolean;
};

/** `smile plant init` */
export function initCommand(signal: AbortSignal): Command {
  return new Command("init")
    .description("Make a plant: its identity, its HE keys in a sealed keystore, its certificate authority, its console's configuration")
    .requiredOption("--plant <name>", "name of the plant")
    .requiredOption("--deployment <file>", "the deployment document, from the model's owner")
    .requiredOption("--out <folder>", "where the plant's files go; nothing that is there is replaced")
    .option("--service <file>", "the service's document, from its operator; later: `smile plant use-service`")
    .option("--authority <file>", "certificate (PEM) of an authority of yours, which will issue every certificate; default: a new one")
    .option("--without-tls", `no certificates: ${WITHOUT_TLS}`)
    .addOption(plantOptions.days())
    .addOption(plantOptions.passphraseFile())
    .addOption(shared.json())
    .addHelpText("after", "\nExample: smile plant init --plant north --deployment deployment.json --service service.json --out north")
    .action(async ({ withoutTls, ...options }: InitOptions & { withoutTls?: boolean }) => init({ ...options, tls: !withoutTls }, signal));
}

async function init({ out, json, passphraseFile, ...options }: InitOptions, signal: AbortSignal): Promise<void> {
  const passphrase = await newPassphrase({ env: process.env, file: passphraseFile, signal });
  const file = passphraseFile ?? process.env.SMILE_PASSPHRASE_FILE;
  const access = { folder: out, passphrase, env: process.env, nowMs: Date.now() };
  const made = await initPlant(access, { ...options, passphraseFile: file || undefined });
  const { plant, identityHash, request } = made;
  const facts = { plant, identityHash, service: made.service, folder: out, register: join(out, "register.json"), request };
  const first = request === null ? "" : `have ${request} signed, then \`smile plant accept-certificate --certificate FILE\`; `;
  const service = made.service !== null ? "" : "`smile plant use-service FILE` once the operator sent the service's document; ";
  // The console of records looks for people files at a gateway of this name.
  const gateway = made.sends === "records" ? "records --records" : "NAME --machines ...";
  const next = `${first}${service}tell the operator the identity hash, by another way than the register's; then \`smile plant add-gateway ${gateway} --plant-folder ${out}\``;
  report(json, facts, [`plant ${plant} is in ${out}`, `identity ${identityHash}`, ...serviceLine(made.service)], next);
}
