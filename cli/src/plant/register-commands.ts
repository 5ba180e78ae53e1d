import { join } from "node:path";
import { exportPublic } from "@smile/custody/plant/export-public";
import { plantStatus } from "@smile/custody/plant/plant-status";
import { useService } from "@smile/custody/plant/service-file";
import { useDeployment } from "@smile/custody/plant/use-deployment";
import { writeJsonFile } from "@smile/runtime/json-file";
import Table from "cli-table3";
import { Command } from "commander";
import { shared } from "../options.ts";
import { accessOf, daysToMs, type PlantOptions, plantOptions, plantSubcommand } from "./plant-options.ts";
import { report, serviceLine } from "./report.ts";

/** Commands on what plant and service know of each other. */
export function registerCommands(signal: AbortSignal): Command[] {
  return [
    plantSubcommand(
      "export-public",
      "Sign the plant's register anew under the next serial: register.json, all that the service needs, and public",
      "export-public --plant-folder north --out north-register.json",
    )
      .option("--out <file>", "a copy besides register.json in the plant's folder")
      .action(async (options: PlantOptions & { out?: string }) => {
        const { register, path, identityHash } = await exportPublic(await accessOf(options, signal));
        if (options.out !== undefined) writeJsonFile(options.out, register);
        const file = options.out ?? path;
        const { plant, serial } = register;
        const lines = [`${file}: register ${serial} of plant ${plant}`, `identity ${identityHash}`];
        const next = `give ${file} to the service, which pins the identity hash`;
        report(options.json, { plant, serial, identityHash, register: file }, lines, next);
      }),

    plantSubcommand(
      "use-service",
      "Take the service's document, a first or a newer one, to the console and to every gateway's folder",
      "use-service service.json --plant-folder north",
    )
      .argument("<file>", "the service's document, from its operator")
      .action(async (file: string, options: PlantOptions) => {
        const used = await useService(await accessOf(options, signal), file);
        const lines = [
          `the console uses ${file}`,
          ...serviceLine(used.service),
          ...used.gateways.map((gateway) => `gateway ${gateway} has it in its folder`),
        ];
        report(
          options.json,
          used,
          lines,
          used.gateways.length === 0 ? "add gateways" : "carry the gateways' folders to them, restart agents and console",
        );
      }),

    plantSubcommand(
      "use-deployment",
      "Take another deployment to the console and to every gateway's folder, with new keys where it has other parameters. Drain the agents before",
      "use-deployment deployment.json --plant-folder north",
    )
      .argument("<file>", "the deployment document, from the model's owner")
      .addOption(plantOptions.retainDays("how long keys that it does not use are kept"))
      .action(async (file: string, options: PlantOptions & { retainDays: number }) => {
        const access = await accessOf(options, signal);
        const used = await useDeployment(access, { file, retainMs: daysToMs(options.retainDays) });
        const lines = [`the console uses ${file}${used.newKeys === 0 ? "" : ", with new keys"}`];
        const next = `give ${join(options.plantFolder, "register.json")} to the service; carry the gateways' folders to them, restart agents and console`;
        report(options.json, used, lines, next);
      }),

    new Command("status")
      .description("What the plant has: gateways, lanes, certificates, keys; and what somebody should do. Needs no passphrase")
      .option("--plant-folder <folder>", "what `smile plant init` made", ".")
      .addOption(shared.json())
      .addHelpText("after", "\nExample: smile plant status --plant-folder north")
      .action(({ plantFolder, json }: { plantFolder: string; json?: boolean }) => {
        const status = plantStatus(plantFolder, Date.now());
        const { todo, ...facts } = status;
        report(json, json ? status : facts, statusLines(status), todo.join("; ") || undefined);
      }),
  ];
}

function statusLines({ plant, serial, identityHash, tls, gateways, keys }: ReturnType<typeof plantStatus>): string[] {
  const day = (ms: number | null) => (ms === null ? "" : new Date(ms).toISOString().slice(0, 10));
  const table = new Table({ head: ["what", "name", "state", "until"], style: { head: [], border: [] } });
  for (const { gateway, state, firstLane, lanes, certificateEndsMs } of gateways) {
    table.push([`lanes ${firstLane}-${firstLane + lanes - 1}`, gateway, state, day(certificateEndsMs)]);
  }
  for (const { keyEpoch, gateway, keyId, state, untilMs } of keys) {
    table.push([`key epoch ${keyEpoch}`, gateway ?? `${keyId.slice(0, 12)}…`, state, day(untilMs)]);
  }
  return [`plant ${plant}, register ${serial}${tls ? "" : ", without TLS"}`, `identity ${identityHash}`, table.toString()];
}
