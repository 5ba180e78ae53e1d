import { WITHOUT_TLS } from "@smile/runtime/tls-config";
import { documentId } from "@smile/schemas/documents";
import { Command, Option } from "commander";
import { shared, whole } from "../options.ts";
import { report } from "../plant/report.ts";
import { initService, renewService } from "./service-folder.ts";

/** Two years; the services say so from two weeks before its end. */
const CERTIFICATE_DAYS = 730;
const LOCAL_HOSTS = ["localhost", "127.0.0.1"];

type InitOptions = {
  out: string;
  host?: string[];
  name?: string;
  framesUrl?: string;
  scoresUrl?: string;
  withoutTls?: boolean;
  days: number;
  json?: boolean;
};

const days = () =>
  new Option("--days <n>", "how long the brokers' certificate is in force").argParser(whole(1, 3650)).default(CERTIFICATE_DAYS);

/** `smile service` */
export function serviceCommand(): Command {
  return new Command("service")
    .description("The operator's side: certificates of the brokers, the model service's signing key, and the document that plants get")
    .addCommand(initCommand())
    .addCommand(renewCommand());
}

function initCommand(): Command {
  return new Command("init")
    .description("Make an operator's folder. authority-key.pem in it is not encrypted: it needs a place of its own, away from the services")
    .requiredOption("--out <folder>", "where the files go; nothing that is there is replaced")
    .option("--host <names...>", "names and IP addresses of the brokers, the first for the URLs; default: this machine")
    .option("--name <text>", "what plants call the service; default: the first host")
    .option("--frames-url <url>", "where gateways publish; default: mqtts://HOST:8883, without TLS mqtt://HOST:1883")
    .option("--scores-url <url>", "where consoles subscribe; default: mqtts://HOST:8884, without TLS mqtt://HOST:1884")
    .option("--without-tls", `no certificates: ${WITHOUT_TLS}`)
    .addOption(days())
    .addOption(shared.json())
    .addHelpText("after", "\nExample: smile service init --host smile.example.org --out operator")
    .action(async ({ out, host: hosts = LOCAL_HOSTS, name, withoutTls, json, ...options }: InitOptions) => {
      const made = await initService({
        ...options,
        folder: out,
        hosts,
        name: name ?? hosts[0]!,
        tls: !withoutTls,
        nowMs: Date.now(),
      });
      const { paths, service } = made;
      const id = documentId(service);
      const facts = {
        service: paths.service,
        id,
        signingKey: paths.signingKey,
        framesUrl: service.framesUrl,
        scoresUrl: service.scoresUrl,
      };
      const brokers = withoutTls ? {} : { certificate: paths.certificate, key: paths.key, authorityKey: paths.authorityKey };
      const lines = [
        `${paths.service}  for every plant: public, but by a way that nobody can change it on`,
        `${paths.modelService}  for the model service: its configuration's signingKey`,
        ...(withoutTls
          ? []
          : [
              `${paths.brokers}  for the stream processor: frames.tls and scores.tls`,
              `${paths.authorityKey}  for nobody: keep it away from the services; \`smile service renew\` needs it`,
            ]),
        `service ${id}  what the plants must see, too`,
      ];
      const next = `give ${paths.service} to the plants; each sends its register.json, and its identity hash by another way, for \`plants\` in both services' configurations`;
      report(json, { ...facts, ...brokers }, lines, next);
    });
}

function renewCommand(): Command {
  return new Command("renew")
    .description("Make the brokers a new certificate by the same authority; plants need nothing new")
    .option("--folder <folder>", "what `smile service init` made", ".")
    .option("--host <names...>", "other names and IP addresses of the brokers; default: those of before")
    .addOption(days())
    .addOption(shared.json())
    .addHelpText("after", "\nExample: smile service renew --folder operator")
    .action(async ({ folder, host, json, days }: { folder: string; host?: string[]; json?: boolean; days: number }) => {
      const { hosts, endsMs, paths } = await renewService({ folder, hosts: host, days, nowMs: Date.now() });
      const ends = new Date(endsMs).toISOString();
      const next = `put ${paths.key} and ${paths.certificate} where the stream processor has its own, which takes them while it runs`;
      report(
        json,
        { hosts, ends, certificate: paths.certificate, key: paths.key },
        [`certificate for ${hosts.join(", ")} until ${ends}`],
        next,
      );
    });
}
