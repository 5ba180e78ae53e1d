import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { benchModel, type ModelOptions, writeModel } from "./model.ts";

export const SMILE = fileURLToPath(new URL("../../cli/src/main.ts", import.meta.url));
export const PLANT = "north";

export type DeploymentOptions = ModelOptions & {
  readonly gateways: number;
  readonly machinesPerGateway: number;
  /** Kafka's brokers; without them the embedded log. */
  readonly brokers?: readonly string[];
  readonly partitions: number;
  readonly threads?: number;
};

export type Prepared = {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly gateways: readonly string[];
  readonly lanes: number;
  /** Configuration files, by service. */
  readonly configs: { readonly "stream-processor": string; readonly "model-service": string; readonly "plant-console": string };
};

/**
 * Makes a plant, its gateways and a service by the product's own commands, with mutual TLS, and the services' configurations.
 * @param folder empty
 * @throws {Error} with what a command said when it fails
 */
export async function prepare(folder: string, options: DeploymentOptions): Promise<Prepared> {
  const model = benchModel(options);
  const heads = writeModel(join(folder, "model"), model);
  writeFileSync(join(folder, "passphrase"), "a passphrase of a benchmark\n", { mode: 0o600 });
  const env = {
    SMILE_PASSPHRASE_FILE: join(folder, "passphrase"),
    // The comparison without encryption is the only use of this.
    ...(options.scheme === "identity" && { SMILE_ALLOW_UNENCRYPTED: "for tests" }),
  };
  const [framesPort, scoresPort] = await freePorts(2);
  const urls = ["--frames-url", `mqtts://127.0.0.1:${framesPort}`, "--scores-url", `mqtts://127.0.0.1:${scoresPort}`];
  smile(folder, env, ["service", "init", "--out", "service", ...urls]);
  const plant = ["--deployment", "model/deployment.json", "--service", "service/service.json"];
  smile(folder, env, ["plant", "init", "--plant", PLANT, ...plant, "--out", "north"]);
  const gateways = Array.from({ length: options.gateways }, (_, g) => `gateway-${g + 1}`);
  for (const gateway of gateways) {
    const machines = Array.from({ length: options.machinesPerGateway }, (_, m) => `${gateway}-m${m + 1}`);
    smile(folder, env, ["plant", "add-gateway", gateway, "--plant-folder", "north", "--machines", ...machines]);
  }
  copyFileSync(join(folder, "north/register.json"), join(folder, "service/north-register.json"));
  const { identity } = readJson(join(folder, "north/console/plant-console.json")) as { identity: string };

  const common = {
    log: {
      ...(options.brokers === undefined ? { path: "log.db" } : { kafka: { brokers: options.brokers } }),
      partitions: options.partitions,
    },
    plants: [{ register: "north-register.json", identity }],
    logLevel: "info",
  };
  const tls = { certificate: "stream-processor/certificate.pem", key: "stream-processor/key.pem" };
  const configs = {
    "stream-processor": join(folder, "service/stream-processor.json"),
    "model-service": join(folder, "service/model-service.json"),
    "plant-console": join(folder, "north/console/plant-console.json"),
  };
  writeJson(configs["stream-processor"], {
    ...common,
    deployments: ["../model/deployment.json"],
    frames: { port: framesPort, tls },
    scores: { port: scoresPort, tls },
    // One plant sends all that there is.
    quota: { framesPerSecond: 1_000_000, bytesPerSecond: 2 ** 34 },
  });
  writeJson(configs["model-service"], {
    ...common,
    deployments: [
      {
        deployment: "../model/deployment.json",
        heads: heads.map((path) => relative(join(folder, "service"), path)),
        modelPrivacy: options.modelPrivacy,
      },
    ],
    signingKey: "model-service/signing-key.json",
    ...(options.threads !== undefined && { threads: options.threads }),
  });
  return { folder, env, gateways, lanes: model.deployment.lanes, configs };
}

/** Runs a command of the product. @returns its standard output @throws {Error} with what it said when it fails */
export function smile(cwd: string, env: NodeJS.ProcessEnv, args: readonly string[]): string {
  const options = { cwd, env: { ...process.env, ...env }, encoding: "utf8", maxBuffer: 2 ** 26 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [SMILE, ...args], options);
  if (status !== 0) throw new Error(`smile ${args.slice(0, 3).join(" ")} ended with ${status}: ${stderr}`);
  return stdout;
}

/** Runs a command with --json. @returns its last line, read */
export function smileJson(cwd: string, env: NodeJS.ProcessEnv, args: readonly string[]): unknown {
  return JSON.parse(smile(cwd, env, args).trimEnd().split("\n").at(-1)!);
}

export const readJson = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
export const writeJson = (path: string, value: unknown) => writeFileSync(path, `${JSON.stringify(value, undefined, 2)}\n`);

export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once("listening", resolve))));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
