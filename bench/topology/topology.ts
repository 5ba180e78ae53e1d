import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type Prepared, SMILE } from "./deployment.ts";
import { Measured, type Usage } from "./process.ts";

const GATEWAYS = fileURLToPath(new URL("gateways-process.ts", import.meta.url));
const CONSOLE = fileURLToPath(new URL("console-process.ts", import.meta.url));
const SERVICES = ["stream-processor", "model-service"] as const;
const STARTED = /(stream processor|model service|plant console) started/;

/** What the gateways' process says of itself, four times a second. */
export type GatewayNews = { readonly windows: number; readonly frames: number; readonly waiting: number };

/** What the console stored since it was asked last; latencies from a window closed at the gateway to its stored risk. */
export type Stored = {
  readonly risks: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly duplicates: number;
  readonly contradictions: number;
};

/** Gateways, processor, model service and console, each a process of its own, joined by MQTT with mutual TLS and a log. */
export class Topology implements AsyncDisposable {
  readonly #opened = new AsyncDisposableStack();
  readonly processes: Measured[] = [];
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  #gateways!: Measured;
  #console!: Measured;
  news: GatewayNews = { windows: 0, frames: 0, waiting: 0 };

  private constructor({ folder, env }: Prepared) {
    this.#folder = folder;
    this.#env = env;
  }

  /** @param options.models how many model services share the batches @param options.node options of Node for every service, such as --cpu-prof */
  static async start(prepared: Prepared, options: { models?: number; node?: readonly string[] } = {}): Promise<Topology> {
    const topology = new Topology(prepared);
    try {
      await topology.#start(prepared, options);
    } catch (error) {
      await topology[Symbol.asyncDispose]();
      throw error;
    }
    return topology;
  }

  async #start({ folder, env, configs, gateways }: Prepared, { models = 1, node = [] }: { models?: number; node?: readonly string[] }) {
    for (const name of SERVICES) {
      for (let i = 0; i < (name === "model-service" ? models : 1); i++) {
        const label = i === 0 ? name : `${name} ${i + 1}`;
        const running = this.#opened.use(
          new Measured(label, process.execPath, [...node, SMILE, name, "--config", configs[name]], { cwd: folder, env }),
        );
        this.processes.push(running);
        await running.line(STARTED);
      }
    }
    this.#console = this.#opened.use(
      new Measured("plant-console", process.execPath, [...node, CONSOLE, configs["plant-console"]], { cwd: folder, env, ipc: true }),
    );
    this.processes.push(this.#console);
    await this.#console.line(STARTED);
    const gatewaysEnv = { ...process.env, ...env };
    this.#gateways = this.#opened.use(
      new Measured("gateways", process.execPath, [...node, GATEWAYS, folder, ...gateways], { cwd: folder, env: gatewaysEnv, ipc: true }),
    );
    this.processes.push(this.#gateways);
    const ready = once(this.#gateways.child, "message");
    const ended = once(this.#gateways.child, "close").then(() => {
      throw new Error(`gateways ended:\n${this.#gateways.lastLines()}`);
    });
    await Promise.race([ready, ended]);
    ended.catch(() => {});
    this.#gateways.child.on("message", (news: GatewayNews) => {
      this.news = news;
    });
  }

  /** Offers so many windows per second from now on, over all gateways. */
  offer(windowsPerSecond: number): void {
    this.#gateways.child.send({ windowsPerSecond });
  }

  /** One more process, once it says that it started. */
  async add(name: string, args: readonly string[], started: RegExp): Promise<Measured> {
    const running = this.#opened.use(new Measured(name, process.execPath, args, { cwd: this.#folder, env: this.#env }));
    this.processes.push(running);
    await running.line(started);
    return running;
  }

  /** What was stored since the last call. */
  async stored(): Promise<Stored> {
    const answer = once(this.#console.child, "message");
    this.#console.child.send({});
    const [stored] = (await answer) as [Stored];
    return stored;
  }

  usage(): ReadonlyMap<string, Usage> {
    return new Map(this.processes.map((each) => [each.name, each.usage()]));
  }

  /** @throws {Error} with its last lines when one has ended */
  check(): void {
    for (const each of this.processes) {
      const { exitCode, signalCode } = each.child;
      if (exitCode !== null || signalCode !== null)
        throw new Error(`${each.name} ended with ${exitCode ?? signalCode}:\n${each.lastLines()}`);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}
