import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { kafkaHome } from "@smile/kafka-local/kafka-jars";
import { startLocalKafka } from "@smile/kafka-local/local-kafka";
import { freePorts, readJson, SMILE, smile, writeJson } from "./deployment.ts";
import { benchModel, type ModelOptions, writeModel } from "./model.ts";
import { startMosquitto } from "./mosquitto.ts";
import type { PlantsFigures, PlantsOptions, PlantsOrder } from "./plants-process.ts";
import { Measured, type Usage, usageOf } from "./process.ts";

const PLANTS = fileURLToPath(new URL("plants-process.ts", import.meta.url));
/** What docs/operations.md advises: without a bound Node lets garbage pile up, as long as the machine has memory. */
const NODE = {
  "built-in": ["--max-old-space-size=400", "--max-semi-space-size=8"],
  mosquitto: ["--max-old-space-size=192", "--max-semi-space-size=8"],
};
const STARTED = /(stream processor|model service) started/;

export type ManyPlantsOptions = Omit<PlantsOptions, "model"> & {
  readonly log: "embedded" | "kafka";
  /** The stream processor's own brokers, or Mosquitto for each. */
  readonly broker: "built-in" | "mosquitto";
  readonly partitions: number;
  readonly threads: number;
  /** Options of Node for both services, such as --cpu-prof. */
  readonly node?: readonly string[];
};

/** What a load came to. CPU in seconds per second. */
export type PlantsLoad = PlantsFigures & {
  readonly seconds: number;
  readonly cpu: ReadonlyMap<string, number>;
  readonly usage: ReadonlyMap<string, Usage>;
};

const MODEL: ModelOptions = {
  ...{ hopMs: 60_000, keyMode: "public", modelPrivacy: "compact", scheme: "bgv", heads: 1, maxMerges: 8 },
};

/** Many plants' gateways and consoles over MQTT on loopback, without TLS; the services each a process of its own. */
export class ManyPlants implements AsyncDisposable {
  readonly #opened = new AsyncDisposableStack();
  readonly #usage = new Map<string, () => Usage>();
  #plants!: Measured;
  /** How long each step of the start took. */
  readonly startSeconds: Record<string, number> = {};

  static async start(options: ManyPlantsOptions, say: (line: string) => void): Promise<ManyPlants> {
    const started = new ManyPlants();
    try {
      await started.#start(options, say);
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start({ log, broker, partitions, threads, node = [], ...options }: ManyPlantsOptions, say: (line: string) => void): Promise<void> {
    const opened = this.#opened;
    const folder = mkdtempSync(join(tmpdir(), "smile-bench-"));
    opened.defer(() => rmSync(folder, { recursive: true, force: true }));
    const timed = async <T>(step: string, work: () => Promise<T>): Promise<T> => {
      const beganMs = performance.now();
      const result = await work();
      this.startSeconds[step] = Math.round((performance.now() - beganMs) / 100) / 10;
      say(`${step}: ${this.startSeconds[step]} s`);
      return result;
    };
    const run = (name: string, args: readonly string[], ipc: boolean) =>
      opened.use(new Measured(name, process.execPath, args, { cwd: folder, ipc }));

    const kafka = log === "kafka" ? opened.use(await startLocalKafka({ home: kafkaHome(process.env), heapMiB: 512 })) : undefined;
    if (kafka) this.#usage.set("kafka", () => usageOf(kafka.pid!));
    const heads = writeModel(join(folder, "model"), benchModel(MODEL));
    this.#plants = run("plants", [PLANTS, folder, JSON.stringify({ ...options, model: MODEL } satisfies PlantsOptions)], true);
    await timed("plants made", () => this.#heard());

    smile(folder, {}, ["service", "init", "--out", "service"]);
    const ports = await freePorts(2);
    const [frames, scores] = ports.map((port) =>
      broker === "mosquitto" ? { broker: `mqtt://127.0.0.1:${port}` } : { port, maxConnections: 20_000 },
    );
    if (broker === "mosquitto") {
      for (const [i, name] of ["mosquitto of frames", "mosquitto of scores"].entries()) {
        const mosquitto = opened.use(await startMosquitto(name, folder, ports[i]!));
        this.#usage.set(name, () => mosquitto.usage());
      }
    }
    const plants = readJson(join(folder, "plants.json")) as { register: string; identity: string }[];
    // Each service keeps what it took beside the register, under a name of its own.
    const common = (service: string) => ({
      log: { ...(kafka ? { kafka: { brokers: [kafka.bootstrap] } } : { path: "log.db" }), partitions },
      plants: plants.map((plant) => ({ ...plant, taken: `${plant.register}.${service}` })),
      logLevel: "info",
    });
    const deployment = "../model/deployment.json";
    writeJson(join(folder, "service/stream-processor.json"), {
      ...common("stream-processor"),
      ...{ deployments: [deployment], frames, scores, quota: { framesPerSecond: 100_000, bytesPerSecond: 2 ** 32 } },
    });
    writeJson(join(folder, "service/model-service.json"), {
      ...common("model-service"),
      ...{ deployments: [{ deployment, heads }], signingKey: "model-service/signing-key.json", threads },
    });
    await timed("services started", async () => {
      const services = ["stream-processor", "model-service"].map((name) => {
        const service = run(name, [...NODE[broker], ...node, SMILE, name, "--config", `service/${name}.json`], false);
        this.#usage.set(name, () => {
          if (!service.isRunning) throw new Error(`the ${name} ended:\n${service.lastLines()}`);
          return service.usage();
        });
        return service.line(STARTED);
      });
      await Promise.all(services);
    });
    await timed("clients connected", () => {
      this.#order({ connect: { frames: `mqtt://127.0.0.1:${ports[0]}`, scores: `mqtt://127.0.0.1:${ports[1]}` } });
      return this.#heard();
    });
  }

  /** Offers a load, lets it settle, measures. */
  async at(windowsPerSecond: number, { settleMs, measureMs }: { settleMs: number; measureMs: number }): Promise<PlantsLoad> {
    this.#order({ windowsPerSecond });
    await delay(settleMs);
    await this.#figures();
    const before = this.usage();
    const beganMs = performance.now();
    await delay(measureMs);
    const figures = await this.#figures();
    const usage = this.usage();
    const seconds = (performance.now() - beganMs) / 1000;
    const cpu = [...usage].map(([name, { cpuSeconds }]) => [name, (cpuSeconds - before.get(name)!.cpuSeconds) / seconds] as const);
    return { ...figures, seconds, cpu: new Map(cpu), usage };
  }

  usage(): ReadonlyMap<string, Usage> {
    return new Map([...this.#usage].map(([name, usage]) => [name, usage()]));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }

  #order(order: PlantsOrder): void {
    this.#plants.child.send(order);
  }

  async #figures(): Promise<PlantsFigures> {
    const answer = this.#heard();
    this.#order({ figures: true });
    return (await answer) as PlantsFigures;
  }

  /** What the plants' process says next. */
  async #heard(): Promise<unknown> {
    const stop = new AbortController();
    const { child } = this.#plants;
    const ended = once(child, "close", { signal: stop.signal }).then(() => {
      throw new Error(`the plants ended:\n${this.#plants.lastLines()}`);
    });
    ended.catch(() => {});
    try {
      const [message] = await Promise.race([once(child, "message", { signal: stop.signal }), ended]);
      return message;
    } finally {
      stop.abort();
    }
  }
}
