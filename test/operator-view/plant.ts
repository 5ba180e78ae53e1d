import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addGateway } from "@smile/custody/plant/gateways";
import { initPlant } from "@smile/custody/plant/init-plant";
import { credentialPaths, plantPaths } from "@smile/custody/plant/paths";
import { RiskStore, type StoredRisk } from "@smile/plant-console/store";
import { readJsonFile, writeJsonFile } from "@smile/runtime/json-file";
import type { TlsMaterial } from "@smile/runtime/tls-files";
import { toNdjson } from "@smile/simulators/ndjson";
import { vi } from "vitest";
import { ROOT, SmileProcess } from "../support/smile-process.ts";
import type { Client } from "./recording-proxy.ts";
import { GATEWAYS, type GatewayName, MACHINES, MALFORMED_LINE, STRAY_MACHINE, type Telemetry } from "./telemetry.ts";

export const PLANT = "north";
export const PASSPHRASE = "qJ7vXr2kTn9wLb4mZc6dHs3f";
const DAYS = 2;

/** A plant with all its files and processes, made by the code of `smile plant`. */
export class Plant implements AsyncDisposable {
  readonly folder: string;
  readonly identityHash: string;
  readonly #opened = new AsyncDisposableStack();

  private constructor(folder: string, identityHash: string) {
    this.folder = folder;
    this.identityHash = identityHash;
  }

  static async found(folder: string, deployment: string, service: string): Promise<Plant> {
    // The cheapest keystore: what it costs to guess a passphrase is tested elsewhere.
    const access = { folder, passphrase: PASSPHRASE, env: process.env, nowMs: Date.now(), cost: 2 ** 10 };
    const passphraseFile = `${folder}.passphrase`;
    writeFileSync(passphraseFile, `${PASSPHRASE}\n`, { mode: 0o600 });
    const { identityHash } = await initPlant(access, { plant: PLANT, deployment, service, tls: true, days: DAYS, passphraseFile });
    for (const gateway of GATEWAYS) {
      await addGateway(access, { gateway, machines: MACHINES[gateway], days: DAYS });
      // Rows come to an end: the windows that are open then are sent as well.
      configure(join(plantPaths(folder).gateway(gateway), "edge-agent.json"), { source: { kind: "stdin", atEnd: "flush" } });
    }
    return new Plant(folder, identityHash);
  }

  handOverRegister(to: string): void {
    copyFileSync(plantPaths(this.folder).register, to);
  }

  /** Who connects to the service, and with what. */
  clients(): Client[] {
    const { console, gateway } = plantPaths(this.folder);
    const folders: [name: string, folder: string][] = [
      ["console", console],
      ...GATEWAYS.map((name) => [name, gateway(name)] as [string, string]),
    ];
    return folders.map(([name, folder]) => ({ name, tls: tlsOf(folder) }));
  }

  /** @param timeSeries where the console writes what it has decrypted; nowhere if not given */
  async startConsole(timeSeries?: object): Promise<SmileProcess> {
    const file = join(plantPaths(this.folder).console, "plant-console.json");
    if (timeSeries !== undefined) configure(file, { timeSeries });
    const process = this.#start("plant-console", file);
    await process.line(/console started/);
    return process;
  }

  /** Sends all rows of a gateway, with a line that is no row and one of a machine without a lane among them, and waits for the agent's end.
   * @param mutant module that changes the agent
   */
  async send(gateway: GatewayName, { rows }: Telemetry, mutant?: string): Promise<void> {
    const config = join(plantPaths(this.folder).gateway(gateway), "edge-agent.json");
    const agent = this.#start("edge-agent", config, { stdin: "pipe", mutant });
    const [first, ...others] = rows.get(gateway)!;
    const lines = [toNdjson(first!), MALFORMED_LINE, toNdjson({ ...first!, machine: STRAY_MACHINE }), ...others.map(toNdjson)];
    agent.stdin.end(lines.map((line) => `${line}\n`).join(""));
    const { code, stderr } = await agent.ended;
    if (code !== 0) throw new Error(`the agent of ${gateway} ended with ${code}:\n${stderr}`);
  }

  /** What the console has stored, once it is so much. */
  async risks(count: number, headId: string): Promise<StoredRisk[]> {
    using store = new RiskStore({ path: join(plantPaths(this.folder).console, "plant-console.db"), plant: PLANT });
    await vi.waitUntil(() => store.counts().risks >= count, { timeout: 60_000, interval: 20 });
    return Object.values(MACHINES).flatMap((machines) => machines.flatMap((machine) => store.risksOf(machine, { headId, limit: 1000 })));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }

  #start(
    service: "edge-agent" | "plant-console",
    config: string,
    { stdin, mutant }: { readonly stdin?: "pipe"; readonly mutant?: string | undefined } = {},
  ): SmileProcess {
    const main = join(ROOT, service, "src/main.ts");
    const preload = mutant === undefined ? [] : ["--import", mutant];
    return this.#opened.use(new SmileProcess(process.execPath, [...preload, main, "--config", config], stdin && { stdin }));
  }
}

function configure(file: string, changes: object): void {
  writeJsonFile(file, { ...(readJsonFile(file, "configuration") as object), ...changes });
}

function tlsOf(folder: string): TlsMaterial {
  const { certificate, key } = credentialPaths(folder);
  const read = (path: string) => readFileSync(path, "utf8");
  return { certificate: read(certificate), key: read(key), authority: read(join(folder, "authority.pem")) };
}
