import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readJsonFile, writeJsonFile } from "@smile/runtime/json-file";
import type { Deployment, Head } from "@smile/schemas/documents";
import { frameCodec } from "@smile/schemas/envelopes";
import { parseFramesTopic } from "@smile/schemas/topics";
import { ROOT } from "../support/smile-process.ts";
import { ConsoleJournal } from "./console-journal.ts";
import { FrameWatches } from "./frame-watches.ts";
import { type DiskKind, GatewayDisk } from "./full-disk.ts";
import type { Sender } from "./hostile-client.ts";
import { frameEntry } from "./log-journal.ts";
import { Machines } from "./machines.ts";
import { MqttLink } from "./mqtt-link.ts";
import { Parties } from "./parties.ts";
import { Progress } from "./progress.ts";
import { transportOf } from "./schedule.ts";
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
  /** The operator's and the plant's folders, and what is done with them while all runs. */
  readonly parties: Parties;
  readonly machines: Machines;
  readonly steps = new Steps();
  readonly console: Supervised;
  readonly consoleClientId: string;
  readonly streamProcessors: readonly Supervised[];
  readonly modelServices: readonly Supervised[];
  readonly gateways: readonly Gateway[];
  readonly frames: MqttLink;
  readonly deliveries: MqttLink;
  /** Of every broker that a stream processor is. */
  readonly brokerPorts: readonly number[];
  /** Where the services write their figures, and the console its risks. */
  readonly timeSeries: TimeSeriesEndpoint;
  readonly journal: ConsoleJournal;
  readonly progress: Progress;
  /** Told of every frame whose gateway was told that it is safe. */
  readonly acknowledgedFrames: FrameWatches;
  #owned: AsyncDisposable | undefined;

  private constructor(options: PlantOptions, parts: Wiring) {
    const { model, replicas, mutant } = options;
    const { parties, ports } = parts;
    this.name = parts.name;
    this.folder = parts.folder;
    this.parties = parties;
    this.machines = parts.machines;
    this.frames = parts.frames;
    this.deliveries = parts.deliveries;
    this.brokerPorts = ports.flat();
    this.timeSeries = parts.timeSeries;
    this.journal = parts.journal;
    this.progress = parts.progress;
    this.acknowledgedFrames = parts.acknowledgedFrames;
    this.consoleClientId = `${this.name}-console`;
    const path = (file: string) => join(this.folder, file);
    const log = options.log ?? { path: path("log.db") };
    const config = (service: string, content: object) => written(path(join("config", `${service}.json`)), content);
    const service = (name: string, started: string, argv: readonly string[], onStarted?: (child: ChildProcess) => void) =>
      parts.opened.use(new Supervised({ name, started, argv, logPath: path(`${name}.log`), ...(onStarted && { onStarted }) }));
    const replica = <T>(make: (i: number) => T) => Array.from({ length: replicas }, (_, i) => make(i));
    const monitored = (name: string) => ({ timeSeries: parts.timeSeries.settings(name) });

    this.streamProcessors = replica((i) => {
      const name = `stream-processor-${i + 1}`;
      const tls = parties.brokerTls && { tls: parties.brokerTls };
      const [frames, scores] = ports[i]!.map((port) => ({ port, ...tls }));
      const own = { log, frames, scores, plants: parties.plantsOf(name), ...monitored(name) };
      const file = config(name, { ...own, deployments: [model.deploymentPath] });
      const entry = mutant === undefined ? [MAIN, "stream-processor"] : [mutant];
      return service(name, "stream processor started", [...entry, "--config", file]);
    });
    this.modelServices = replica((i) => {
      const name = `model-service-${i + 1}`;
      const deployments = [{ deployment: model.deploymentPath, heads: [model.headPath] }];
      const own = { log, deployments, plants: parties.plantsOf(name), signingKey: parties.scoreSigningKey, threads: 1 };
      const file = config(name, { ...own, ...monitored(name) });
      return service(name, "model service started", [MAIN, "model-service", "--config", file]);
    });
    const file = changed(join(parties.console, "plant-console.json"), {
      mqtt: { url: this.deliveries.url, clientId: this.consoleClientId },
      ...monitored("plant-console"),
    });
    this.console = service("plant-console", "console started", [MAIN, "plant-console", "--config", file]);
    this.gateways = this.machines.gateways.map(({ gateway: name }) => {
      const disk = parts.opened.use(new GatewayDisk(path(name), options.disk));
      const file = changed(join(parties.gateway(name), "edge-agent.json"), {
        store: join(disk.path, "edge.db"),
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
    const { seed, model } = options;
    const name = `plant-${seed}`;
    const folder = mkdtempSync(join(options.scratch, `${name}-`));
    opened.defer(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
    mkdirSync(join(folder, "config"));
    const machines = new Machines(seed, GATEWAYS, MACHINES_PER_GATEWAY);
    const [links, ...ports] = await freePorts(1 + options.replicas);
    const tls = transportOf(seed) === "tls";
    const [framesUrl, scoresUrl] = links!.map((port) => `${tls ? "mqtts" : "mqtt"}://127.0.0.1:${port}`);
    const parties = await Parties.make({
      ...{ folder, plant: name, deployment: model.deploymentPath, gateways: machines.gateways, tls },
      ...{ framesUrl: framesUrl!, scoresUrl: scoresUrl! },
    });
    const timeSeries = opened.use(await TimeSeriesEndpoint.open());
    const journal = opened.use(new ConsoleJournal(join(parties.console, "plant-console.db")));
    const progress = opened.use(new Progress(journal));
    const acknowledgedFrames = new FrameWatches();
    const { server } = parties;
    const between = { tls: server && { server, clientOf: (certificate: string) => parties.clientOf(certificate) } };
    const frames = opened.use(
      await MqttLink.open({
        ...between,
        port: links![0],
        brokers: ports.map(([port]) => port),
        carries: "up",
        captures: 300,
        // Gateways also publish what they had to leave out; the harness's own clients publish anything.
        concerns: ({ clientId, payload }) => clientId.startsWith("smile-edge-") && payload[0] === FRAME,
        onAcknowledged: ({ payload, certificate }) => {
          const frame = frameCodec.decode(payload);
          progress.acknowledge(frameEntry(frame, model.deployment.lanes));
          acknowledgedFrames.see(frame, certificate);
        },
      }),
    );
    const deliveries = opened.use(
      await MqttLink.open({ ...between, port: links![1], brokers: ports.map(([, port]) => port), carries: "down" }),
    );
    const wiring = {
      name,
      folder,
      parties,
      ports,
      timeSeries,
      journal,
      progress,
      acknowledgedFrames,
      frames,
      deliveries,
      machines,
      opened,
    };
    const plant = new Plant(options, wiring);
    opened.defer(() => plant.steps.end());
    await Promise.all(plant.services.map((service) => service.start()));
    await Promise.all(plant.gateways.map(({ agent }) => agent.start()));
    plant.#owned = opened.move();
    return plant;
  }

  /** How to publish under a gateway's topic, with its certificate. */
  senderTo(topic: string): Sender {
    return { url: this.frames.url, tls: this.parties.tlsOf(parseFramesTopic(topic).gateway) };
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

type Wiring = Pick<
  Plant,
  "name" | "folder" | "parties" | "timeSeries" | "journal" | "progress" | "acknowledgedFrames" | "frames" | "deliveries" | "machines"
> & {
  readonly ports: readonly (readonly [frames: number, scores: number])[];
  readonly opened: AsyncDisposableStack;
};

/** Writes a configuration. @returns its path */
function written(path: string, content: object): string {
  writeJsonFile(path, content);
  return path;
}

/** Changes a configuration that `smile plant` wrote. @returns its path */
function changed(path: string, content: object): string {
  return written(path, { ...(readJsonFile(path, "configuration") as object), ...content });
}

/** Pairs of ports that were free a moment ago. Held at the same time, so that they differ. */
async function freePorts(pairs: number): Promise<(readonly [number, number])[]> {
  const servers = Array.from({ length: 2 * pairs }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return Array.from({ length: pairs }, (_, i) => [ports[2 * i]!, ports[2 * i + 1]!] as const);
}
