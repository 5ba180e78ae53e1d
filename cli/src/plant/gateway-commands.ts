import { join } from "node:path";
import { acceptCertificate, activateCredential, renewConsole } from "@smile/custody/plant/client-credentials";
import { addGateway, renewGateway, revokeGateway } from "@smile/custody/plant/gateways";
import { CONSOLE } from "@smile/custody/plant/init-plant";
import { PipelineError } from "@smile/errors/pipeline-error";
import { readPemFile } from "@smile/identity/pem-file";
import { type Command, Option } from "commander";
import { accessOf, daysToMs, type PlantOptions, plantOptions, plantSubcommand } from "./plant-options.ts";
import { report } from "./report.ts";

type Issue = PlantOptions & { readonly days: number; readonly request?: boolean };

const registerOf = ({ plantFolder }: PlantOptions) => join(plantFolder, "register.json");
const forService = (options: PlantOptions) => `give ${registerOf(options)} to the service`;
const signFirst = (request: string, whose: string) =>
  `have ${request} signed, then \`smile plant accept-certificate${whose} --certificate FILE\``;

/** Commands on gateways and the console: who may send, who may read. */
export function gatewayCommands(signal: AbortSignal): Command[] {
  return [
    plantSubcommand(
      "add-gateway",
      "Lease lanes to a gateway's machines, or to a source of records; make its signing key and certificate, and write its folder, complete to be carried there",
      "add-gateway hall-1 --machines press-1 press-2 --plant-folder north",
    )
      .argument("<gateway>", "its name; the service sees it")
      .option("--machines <names...>", "its machines; the service never learns their names")
      .addOption(new Option("--records", "it sends records of people as jobs, and has no machines").conflicts("machines"))
      .addOption(plantOptions.request())
      .addOption(plantOptions.days())
      .action(async (gateway: string, options: Issue & { machines?: string[]; records?: boolean }) => {
        const { records, days, request, json } = options;
        if (!records && options.machines === undefined) {
          throw new PipelineError("CONFIG_INVALID", "a gateway needs --machines and their names, or --records", { gateway });
        }
        const machines = records ? "records" : options.machines!;
        const added = await addGateway(await accessOf(options, signal), { gateway, machines, days, request });
        const { firstLane, lanes, folder } = added;
        const lines = [`gateway ${gateway}: lanes ${firstLane} to ${firstLane + lanes - 1}, files in ${folder}`];
        const signing = added.request === null ? "" : `${signFirst(added.request, ` ${gateway}`)}; then `;
        const start = records
          ? "put mapping.json of your file beside it, then `smile segment run --config segment-source.json --data FILE`"
          : "`smile edge-agent --config edge-agent.json`";
        const console = records ? "" : "restart the console; ";
        report(json, added, lines, `${signing}${forService(options)}; ${console}carry ${folder} to the gateway: ${start} there`);
      }),

    plantSubcommand(
      "accept-certificate",
      "Take a certificate that your own authority issued upon a signing request: the gateway's, or without a name the console's",
      "accept-certificate hall-1 --certificate hall-1.pem --plant-folder north",
    )
      .argument("[gateway]", "the gateway that it was requested for; without it, the console")
      .requiredOption("--certificate <file>", "the certificate (PEM)")
      .option("--authority <file>", "certificate (PEM) of the authority, where the plant does not know it yet")
      .action(async (gateway: string | undefined, options: PlantOptions & { certificate: string; authority?: string }) => {
        const certificate = readPemFile(options.certificate, "certificate");
        const authority = options.authority === undefined ? undefined : readPemFile(options.authority, "authority");
        const client = gateway === undefined ? console_ : ({ role: "gateway", name: gateway } as const);
        const taken = await acceptCertificate(await accessOf(options, signal), { client, certificate, authority });
        const after = `\`smile plant activate-${client.role}${gateway === undefined ? "" : ` ${gateway}`}\``;
        const then = taken.waits ? after : gateway === undefined ? "start the console" : `carry ${taken.folder} to the gateway`;
        report(options.json, taken, [`certificate of ${client.role} ${client.name} taken`], `${forService(options)}; then ${then}`);
      }),

    plantSubcommand(
      "renew-gateway",
      "Make a gateway a new signing key and certificate; they wait until the service knows them",
      "renew-gateway hall-1 --plant-folder north",
    )
      .argument("<gateway>")
      .addOption(plantOptions.request())
      .addOption(plantOptions.days())
      .action(async (gateway: string, options: Issue) => {
        const renewed = await renewGateway(await accessOf(options, signal), { gateway, days: options.days, request: options.request });
        const signing = renewed.request === null ? "" : `${signFirst(renewed.request, ` ${gateway}`)}; then `;
        const next = `${signing}${forService(options)}; once it has it, \`smile plant activate-gateway ${gateway}\``;
        report(options.json, renewed, [`gateway ${gateway}: new credential in ${renewed.folder}`], next);
      }),

    plantSubcommand("renew-console", "Make the console a new certificate; it waits until the service knows it", "renew-console")
      .addOption(plantOptions.request())
      .addOption(plantOptions.days())
      .action(async (options: Issue) => {
        const { days, request } = options;
        const renewed = await renewConsole(await accessOf(options, signal), { console: CONSOLE, days, request });
        const signing = renewed.request === null ? "" : `${signFirst(renewed.request, "")}; then `;
        const next = `${signing}${forService(options)}; once it has it, \`smile plant activate-console\``;
        report(options.json, renewed, [`console: new certificate in ${renewed.folder}`], next);
      }),

    ...(["gateway", "console"] as const).map((role) => {
      const name = role === "gateway" ? " hall-1" : "";
      const command = plantSubcommand(
        `activate-${role}`,
        `Put the ${role}'s renewed credential in its place, once the service has taken the register`,
        `activate-${role}${name} --plant-folder north`,
      ).addOption(plantOptions.retainDays("how long the replaced credential goes on counting"));
      if (role === "gateway") command.argument("<gateway>");
      return command.action(async (...args: unknown[]) => {
        const options = command.opts<PlantOptions & { retainDays: number }>();
        const client = role === "gateway" ? { role, name: args[0] as string } : console_;
        const retainMs = daysToMs(options.retainDays);
        const activated = await activateCredential(await accessOf(options, signal), { client, retainMs });
        const carry = role === "gateway" ? `; carry ${activated.folder} to the gateway, which takes it while it runs` : "";
        const lines = [`${role} ${client.name}: renewed credential in ${activated.folder}`];
        report(options.json, activated, lines, `${forService(options)}${carry}`);
      });
    }),

    plantSubcommand(
      "revoke-gateway",
      "End a gateway for good: from the moment that the service has the register, nothing of it is taken, and the console believes nothing of it",
      "revoke-gateway hall-1 --plant-folder north",
    )
      .argument("<gateway>")
      .addOption(plantOptions.retainDays("how long its key is kept, in symmetric mode"))
      .action(async (gateway: string, options: PlantOptions & { retainDays: number }) => {
        const retainMs = daysToMs(options.retainDays);
        const revoked = await revokeGateway(await accessOf(options, signal), { gateway, retainMs });
        report(options.json, revoked, [`gateway ${gateway} is revoked`], `${forService(options)} now; the console takes it by itself`);
      }),
  ];
}

const console_ = { role: "console", name: CONSOLE } as const;
