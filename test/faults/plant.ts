import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createKeystore, publicKeys, writeKeystore } from "@smile/custody/keystore";
import { writeJsonFile } from "@smile/runtime/json-file";
import type { Deployment, Head } from "@smile/schemas/documents";
import { frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { ROOT } from "../support/smile-process.ts";
import { ConsoleJournal } from "./console-journal.ts";
import { type DiskKind, GatewayDisk } from "./full-disk.ts";
import { frameEntry } from "./log-journal.ts";
import { Machines } from "./machines.ts";
import { MqttLink } from "./mqtt-link.ts";
import { Progress } from "./progress.ts";
import { Steps } from "./steps.ts";
import { Supervised } from "./supervised.ts";
import { TimeSeriesEndpoint } from "./time-series-endpoint.ts";

const MAIN = join(ROOT, "cli/src/main.ts");
const preload = (name: string) => ["--import", fileURLToPath(new URL(name, import.meta.url))];
/** First byte of a frame's envelope. */
const FRAME = "F".charCodeAt(0);
const GATEWAYS = 3;
const MACHINES_PER_GATEWAY = 4;

/** A trained model: its documents and where they lie. */
export type Model = { readonly deployment: Deployment; readonly head: Head; readonly deploymentPath: string; readonly headPath: string };

export type PlantOptions = {
  readonly seed: number;
  readonly model: Model;
  /** Where the plant's own folder goes. */
  readonly scratch: string;
  readonly disk: DiskKind;
  /** The section `log` of the configuration of stream processors and model services; default a file of the plant's own. */
  readonly log?: object;
  /** Stream processors, and model services; an embedded log lets only one of each work. */
  readonly replicas: number;
  /** A stream processor that is broken on purpose, by the path of its entry file. */
  readonly mutant?: string;
};

export type Gateway = { readonly name: string; readonly clientId: string; readonly agent: Supervised; readonly disk: GatewayDisk };

/** One plant with everything that it needs, each service a process of its own, and the links between them in our hands. */
export class Plant implements AsyncDisposable {
  readonly name: string;
  readonly folder: string;
  readonly machines: Machines;
  readonly steps = new Steps();
  readonly console: Supervised;
  readonly consoleClientId: string;
  readonly streamProcessors: readonly Supervised[];
  readonly modelServices: readonly Supervised[];
  readonly gateways: readonly Gateway[];
  readonly frames: MqttLink;
  readonly deliveries: MqttLink;
  /** Where the services write their figures, and the console its risks. */
  readonly timeSeries: TimeSeriesEndpoint;
  readonly journal: ConsoleJournal;
  readonly progress: Progress;
  #owned: AsyncDisposable | undefined;

  private constructor(options: PlantOptions, parts: Wiring) {
    const { model, replicas, mutant } = options;
    this.name = parts.name;
    this.folder = parts.folder;
    this.machines = parts.machines;
    this.frames = parts.frames;
    this.deliveries = parts.deliveries;
    this.timeSeries = parts.timeSeries;
    this.journal = parts.journal;
    this.progress = parts.progress;
    this.consoleClientId = `${this.name}-console`;
    const { path, config } = parts;
    const log = options.log ?? { path: path("log.db") };
    const service = (name: string, started: string, argv: readonly string[], onStarted?: (child: ChildProcess) => void) =>
      parts.opened.use(new Supervised({ name, started, argv, logPath: path(`${name}.log`), ...(onStarted && { onStarted }) }));
    const replica = <T>(make: (i: number) => T) => Array.from({ length: replicas }, (_, i) => make(i));

    this.streamProcessors = replica((i) => {
      const name = `stream-processor-${i + 1}`;
      const [frames, scores] = parts.ports[i]!;
      const own = { log, frames: { port: frames }, scores: { port: scores }, timeSeries: parts.timeSeries.settings(name) };
      const file = config(name, { ...own, deployments: [model.deploymentPath] });
      const entry = mutant === undefined ? [MAIN, "stream-processor"] : [mutant];
      return service(name, "stream processor started", [...entry, "--config", file]);
    });
    this.modelServices = replica((i) => {
      const name = `model-service-${i + 1}`;
      const deployments = [{ deployment: model.deploymentPath, heads: [model.headPath] }];
      const file = config(name, {
        log,
        deployments,
        keys: [path("public-key.json")],
        threads: 1,
        timeSeries: parts.timeSeries.settings(name),
      });
      return service(name, "model service started", [MAIN, "model-service", "--config", file]);
    });
    const file = config("plant-console", {
      plant: this.name,
      mqtt: { url: this.deliveries.url, clientId: this.consoleClientId },
      deployment: model.deploymentPath,
      keystore: path("keystore.json"),
      leases: this.machines.gateways,
      store: path("console.db"),
      timeSeries: parts.timeSeries.settings("plant-console"),
    });
    this.console = service("plant-console", "console started", [MAIN, "plant-console", "--config", file]);
    this.gateways = this.machines.gateways.map((lease) => {
      const name = lease.gateway;
      const disk = parts.opened.use(new GatewayDisk(path(name), options.disk));
      const file = config(name, {
        plant: this.name,
        gateway: name,
        deployment: model.deploymentPath,
        lease,
        key: path("public-key.json"),
        store: join(disk.path, "edge.db"),
        mqtt: { url: this.frames.url },
        source: { kind: "stdin", atEnd: "flush" },
        lingerMs: 100,
      });
      const limited = options.disk === "file-size-limit" ? preload("./no-death-by-limit.ts") : [];
      const argv = [...preload("./skewed-clock.ts"), ...limited, MAIN, "edge-agent", "--config", file];
      const agent = service(name, "edge agent started", argv, (child) => void this.#feed(name, child));
      return { name, clientId: `smile-edge-${this.name}-${name}`, agent, disk };
    });
  }

  /** Starts everything; the machines run from here on. */
  static async start(options: PlantOptions): Promise<Plant> {
    await using opened = new AsyncDisposableStack();
    const name = `plant-${options.seed}`;
    const folder = mkdtempSync(join(options.scratch, `${name}-`));
    opened.defer(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
    const path = (file: string) => join(folder, file);
    const { model } = options;
    const keystore = await createKeystore(name, paramsFromDocument(model.deployment.params), model.deployment.keyMode, []);
    writeKeystore(path("keystore.json"), keystore);
    writeJsonFile(path("public-key.json"), publicKeys(keystore)[0]!);
    mkdirSync(path("config"));
    const config = (service: string, content: object) => {
      const file = path(join("config", `${service}.json`));
      writeJsonFile(file, content);
      return file;
    };
    const ports = await freePorts(options.replicas);
    const timeSeries = opened.use(await TimeSeriesEndpoint.open());
    const journal = opened.use(new ConsoleJournal(path("console.db")));
    const progress = opened.use(new Progress(journal));
    const frames = opened.use(
      await MqttLink.open({
        brokers: ports.map(([port]) => port),
        carries: "up",
        captures: 300,
        // Gateways also publish what they had to leave out; the harness's own clients publish anything.
        concerns: ({ clientId, payload }) => clientId.startsWith("smile-edge-") && payload[0] === FRAME,
        onAcknowledged: ({ payload }) => progress.acknowledge(frameEntry(frameCodec.decode(payload), model.deployment.lanes)),
      }),
    );
    const deliveries = opened.use(await MqttLink.open({ brokers: ports.map(([, port]) => port), carries: "down" }));
    const machines = new Machines(options.seed, GATEWAYS, MACHINES_PER_GATEWAY);
    const plant = new Plant(options, {
      name,
      folder,
      path,
      config,
      ports,
      timeSeries,
      journal,
      progress,
      frames,
      deliveries,
      machines,
      opened,
    });
    opened.defer(() => plant.steps.end());
    await Promise.all(plant.services.map((service) => service.start()));
    await Promise.all(plant.gateways.map(({ agent }) => agent.start()));
    plant.#owned = opened.move();
    return plant;
  }

  get services(): readonly Supervised[] {
    return [...this.streamProcessors, ...this.modelServices, this.console];
  }

  get processes(): readonly Supervised[] {
    return [...this.services, ...this.gateways.map(({ agent }) => agent)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned?.[Symbol.asyncDispose]();
  }

  /** Gives an agent the gateway's rows from the first one on, as a source that goes back does, until the machines stop. */
  async #feed(gateway: string, { stdin }: ChildProcess): Promise<void> {
    const pipe = stdin!;
    pipe.on("error", () => pipe.destroy()); // the agent was killed
    for (let step = 0; await this.steps.reached(step + 1); step++) {
      if (pipe.destroyed) return;
      if (pipe.write(this.machines.lines(gateway, step))) continue;
      await new Promise<void>((resolve) => {
        const go = () => {
          pipe.off("drain", go).off("close", go);
          resolve();
        };
        pipe.once("drain", go).once("close", go);
      });
    }
    pipe.end();
  }
}

type Wiring = Pick<Plant, "name" | "folder" | "timeSeries" | "journal" | "progress" | "frames" | "deliveries" | "machines"> & {
  readonly path: (file: string) => string;
  readonly config: (service: string, content: object) => string;
  readonly ports: readonly (readonly [frames: number, scores: number])[];
  readonly opened: AsyncDisposableStack;
};

/** Pairs of ports that were free a moment ago. Held at the same time, so that they differ. */
async function freePorts(pairs: number): Promise<(readonly [number, number])[]> {
  const servers = Array.from({ length: 2 * pairs }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return Array.from({ length: pairs }, (_, i) => [ports[2 * i]!, ports[2 * i + 1]!] as const);
}
