import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type Prepared, SMILE } from "./deployment.ts";
import { Measured, type Usage } from "./process.ts";

const GATEWAYS = fileURLToPath(new URL("gateways-process.ts", import.meta.url));
const CONSOLE = fileURLToPath(new URL("console-process.ts", import.meta.url));
const SERVICES = ["stream-processor", "model-service"] as const;
/** Gateways share processes: one for each would be more than this machine's cores, and in one they would all wait for each one's disk. */
const GATEWAY_PROCESSES = 2;
const STARTED = /(stream processor|model service|plant console) started/;

/** What a process of gateways says of itself, four times a second. */
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
  readonly #gateways: Measured[] = [];
  readonly #news: GatewayNews[] = [];
  #console!: Measured;

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
    const each = Math.ceil(gateways.length / GATEWAY_PROCESSES);
    for (let i = 0; i * each < gateways.length; i++) {
      const args = [...node, GATEWAYS, folder, ...gateways.slice(i * each, (i + 1) * each)];
      const name = i === 0 ? "gateways" : `gateways ${i + 1}`;
      const running = this.#opened.use(new Measured(name, process.execPath, args, { cwd: folder, env: gatewaysEnv, ipc: true }));
      this.processes.push(running);
      const ready = once(running.child, "message");
      const ended = once(running.child, "close").then(() => {
        throw new Error(`${name} ended:\n${running.lastLines()}`);
      });
      await Promise.race([ready, ended]);
      ended.catch(() => {});
      running.child.on("message", (news: GatewayNews) => {
        this.#news[i] = news;
      });
      this.#gateways.push(running);
    }
  }

  /** What all gateways say together. */
  get news(): GatewayNews {
    const sum = (read: (news: GatewayNews) => number) => this.#news.reduce((total, news) => total + read(news), 0);
    return { windows: sum(({ windows }) => windows), frames: sum(({ frames }) => frames), waiting: sum(({ waiting }) => waiting) };
  }

  /** Offers so many windows per second from now on, over all gateways. */
  offer(windowsPerSecond: number): void {
    for (const { child } of this.#gateways) child.send({ windowsPerSecond: windowsPerSecond / this.#gateways.length });
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
