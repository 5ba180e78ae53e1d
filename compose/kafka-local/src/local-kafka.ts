import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { PipelineError } from "@smile/errors/pipeline-error";
import { fetchKafkaJars } from "./kafka-jars.ts";
import { serverProperties } from "./server-properties.ts";

export type LocalKafkaOptions = {
  /** Folder that keeps the jars between runs: see `kafkaHome`. */
  readonly home: string;
  /** TCP port for clients; default a free one. */
  readonly port?: number;
  /** Folder of topics and offsets, made when missing. Default a temporary one that goes when the broker is disposed of. */
  readonly dataFolder?: string;
  /** Largest heap of the JVM in MiB; default 768. */
  readonly heapMiB?: number;
  /** All of the heap is in memory from the start, as brokers in production have it, so that memory that grows is no heap. Default false. */
  readonly touchHeap?: boolean;
  /** Takes clients only with TLS and SCRAM-SHA-512. */
  readonly secure?: SecureListener;
};

export type SecureListener = {
  /** PEM of the broker's certificate and of its secret key (PKCS #8, without a passphrase); written into the data folder, mode 0600. */
  readonly certificate: string;
  readonly key: string;
  /** Passwords by name, set when the data folder is formatted. They are seen in the process list then: for tests. */
  readonly users: Readonly<Record<string, string>>;
};

type Layout = Required<Pick<LocalKafkaOptions, "dataFolder" | "heapMiB" | "touchHeap">> & {
  readonly jars: string;
  readonly port: number;
  readonly controllerPort: number;
  readonly temporary: boolean;
  readonly secure?: { readonly keyStore: string; readonly insidePort: number };
};

const execute = promisify(execFile);
const logConfiguration = fileURLToPath(new URL("../log4j2.properties", import.meta.url));
const startMs = 60_000;
const stopMs = 10_000;
const keptLines = 40;
/** Util-linux: the kernel ends the JVM together with us, even when we are killed. */
const setpriv = "/usr/bin/setpriv";

/** An Apache Kafka broker as a child process on the loopback interface, for tests and for trying things out. Made by `startLocalKafka`. */
export class LocalKafka implements AsyncDisposable {
  readonly #layout: Layout;
  #child: ChildProcess | undefined;
  #lines: string[] = [];

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** What clients connect to: host and port. */
  get bootstrap(): string {
    return `127.0.0.1:${this.#layout.port}`;
  }

  /** Process id of the JVM, while there is one. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the JVM has ended, whatever ended it. */
  async ended(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }

  /**
   * Starts the broker on the ports and data that it had before; does nothing while it runs.
   * @throws PipelineError LOG_UNAVAILABLE with the broker's last lines when it does not come up
   */
  async start(): Promise<void> {
    if (this.#child !== undefined) return;
    const { jars, dataFolder, heapMiB, touchHeap } = this.#layout;
    this.#lines = [];
    const heap = touchHeap ? [`-Xms${heapMiB}m`, "-XX:+AlwaysPreTouch"] : [`-Xms${Math.min(256, heapMiB)}m`];
    // C1 only: a short life is mostly start-up, and a broker mostly waits for disk and network.
    const jvm = [...heap, `-Xmx${heapMiB}m`, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
    const logging = [`-Dlog4j2.configurationFile=${logConfiguration}`, "-Dlog4j2.disable.jmx=true"];
    const java = ["java", ...jvm, ...logging, "-cp", join(jars, "*"), "kafka.Kafka", propertiesFile(dataFolder)];
    const [program, ...args] = existsSync(setpriv) ? [setpriv, "--pdeathsig", "KILL", "--", ...java] : java;
    // A group of its own: Ctrl-C at a terminal is for us, and we stop the broker in order.
    const child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    this.#child = child;
    const up = Promise.withResolvers<void>();
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        this.#lines = [...this.#lines.slice(1 - keptLines), line];
        if (line.includes("Kafka Server started")) up.resolve();
      });
    }
    const fail = (why: string) => up.reject(this.#failed(why));
    child.once("error", (error) => fail(error.message));
    child.once("close", (code, signal) => {
      if (this.#child === child) this.#child = undefined;
      fail(`it ended with ${code ?? signal}`);
    });
    const timer = setTimeout(() => fail(`no answer within ${startMs / 1000} s`), startMs);
    try {
      await up.promise;
    } catch (error) {
      await this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Stops the broker in order; after 10 s with SIGKILL. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#child?.kill("SIGKILL"), stopMs);
    await this.#end("SIGTERM");
    clearTimeout(timer);
  }

  /** SIGKILL, as a crash. What was acknowledged is in the files: the system still writes what a killed process handed over. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Freezes the broker (SIGSTOP) until it is `thawed`: connections stay open and nothing answers. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#layout.temporary) return this.stop();
    await this.kill();
    await rm(this.#layout.dataFolder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const closed = once(child, "close");
      child.kill(signal);
      await closed;
    }
    this.#child = undefined;
  }

  #failed(why: string): PipelineError {
    const { port, dataFolder } = this.#layout;
    const tail = this.#lines.length === 0 ? "" : `; its last lines:\n${this.#lines.join("\n")}\n`;
    return new PipelineError("LOG_UNAVAILABLE", `Kafka did not start on port ${port}: ${why}${tail}`, { port, dataFolder });
  }
}

/**
 * Fetches Apache Kafka when it is not there yet, formats the data folder when it is new, and starts a broker in KRaft mode.
 * @throws PipelineError TOOL_MISSING, DOWNLOAD_FAILED, CONFIG_INVALID when the port is taken, or LOG_UNAVAILABLE with the broker's last lines
 */
export async function startLocalKafka(options: LocalKafkaOptions): Promise<LocalKafka> {
  if (options.port !== undefined) await claim(options.port);
  const jars = await fetchKafkaJars(options.home);
  const temporary = options.dataFolder === undefined;
  const dataFolder = options.dataFolder === undefined ? await mkdtemp(join(tmpdir(), "smile-kafka-")) : resolve(options.dataFolder);
  const [controllerPort, freePort, insidePort] = await freePorts();
  const { secure } = options;
  const layout: Layout = {
    ...{ jars, dataFolder, temporary, controllerPort, port: options.port ?? freePort },
    ...{ heapMiB: options.heapMiB ?? 768, touchHeap: options.touchHeap ?? false },
    ...(secure === undefined ? {} : { secure: { keyStore: join(dataFolder, "key-store.pem"), insidePort } }),
  };
  try {
    await mkdir(join(dataFolder, "topics"), { recursive: true });
    if (layout.secure !== undefined) await writeFile(layout.secure.keyStore, `${secure!.key}${secure!.certificate}`, { mode: 0o600 });
    await writeFile(propertiesFile(dataFolder), serverProperties({ ...layout, dataFolder: join(dataFolder, "topics") }));
    await format(layout, secure?.users ?? {});
    const kafka = new LocalKafka(layout);
    await kafka.start();
    return kafka;
  } catch (error) {
    if (temporary) await rm(dataFolder, { recursive: true, force: true });
    throw error;
  }
}

const propertiesFile = (dataFolder: string) => join(dataFolder, "server.properties");

async function format({ jars, dataFolder, port }: Layout, users: SecureListener["users"]): Promise<void> {
  if (existsSync(join(dataFolder, "topics", "meta.properties"))) return;
  // A Kafka uuid: 16 bytes in URL-safe base64 without padding. The fixed first byte keeps it from beginning with "-", an option's mark.
  const clusterId = Buffer.concat([Buffer.of(1), randomBytes(15)]).toString("base64url");
  const tool = ["kafka.tools.StorageTool", "format", "--cluster-id", clusterId, "--config", propertiesFile(dataFolder)];
  const scram = Object.entries(users).flatMap(([name, password]) => ["--add-scram", `SCRAM-SHA-512=[name=${name},password=${password}]`]);
  try {
    await execute("java", ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", join(jars, "*"), ...tool, ...scram]);
  } catch (error) {
    const said = (error as { stderr?: string }).stderr ?? "";
    // Without the error itself, which quotes the command and the passwords in it.
    throw new PipelineError("LOG_UNAVAILABLE", `Kafka could not format ${dataFolder}: ${said}`, { port, dataFolder });
  }
}

/** Three ports that were free a moment ago. Held at the same time, so that they differ. */
async function freePorts(): Promise<[number, number, number]> {
  const servers = [await listen(0), await listen(0), await listen(0)] as const;
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  for (const server of servers) await release(server);
  return ports as [number, number, number];
}

async function claim(port: number): Promise<void> {
  try {
    await release(await listen(port));
  } catch (error) {
    throw new PipelineError("CONFIG_INVALID", `port ${port} cannot be listened on: ${(error as Error).message}`, { port }, error);
  }
}

async function listen(port: number): Promise<Server> {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function release(server: Server): Promise<void> {
  server.close();
  await once(server, "close");
}
