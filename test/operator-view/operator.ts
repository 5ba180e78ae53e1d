import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { initService, servicePaths } from "@smile/cli/operator/service-folder";
import type { Deployed } from "@smile/model-service/deploy";
import { writeJsonFile } from "@smile/runtime/json-file";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { ROOT, SmileProcess } from "../support/smile-process.ts";
import { RecordingEndpoint } from "./recording-endpoint.ts";
import { type Client, RecordingProxy } from "./recording-proxy.ts";
import type { Artefact } from "./search.ts";

export const SERVICES = ["stream-processor", "model-service"] as const;
type Side = "frames" | "scores";
export type OperatorService = (typeof SERVICES)[number];
const STARTED = { "stream-processor": /stream processor started/, "model-service": /model service started/ };
const PAGES = ["healthz", "readyz", "metrics"];
const RECORDER = join(import.meta.dirname, "record-modules.ts");
/** What the operator's services are made of. The rest of the packages, custody before all, is not installed there. */
const INSTALLED = ["errors", "features", "he", "schemas", "runtime", ...SERVICES];

/** The operator's side: its folder, its two services as processes, its time-series database, and records of all that they say. */
export class Operator implements AsyncDisposable {
  readonly folder: string;
  /** What plants are given: the deployment, and the service document. */
  readonly deployment: string;
  readonly service: string;
  readonly timeSeries: RecordingEndpoint;
  readonly #opened = new AsyncDisposableStack();
  readonly #processes = new Map<OperatorService, { readonly process: SmileProcess; readonly healthUrl: string }>();
  readonly #proxies: Readonly<Record<Side, RecordingProxy>>;
  readonly #recorded: Artefact[] = [];

  private constructor(folder: string, proxies: Readonly<Record<Side, RecordingProxy>>, timeSeries: RecordingEndpoint) {
    this.folder = folder;
    this.deployment = join(folder, "deployment.json");
    this.service = servicePaths(folder).service;
    this.#proxies = proxies;
    for (const each of [...Object.values(proxies), timeSeries]) this.#opened.use(each);
    this.timeSeries = timeSeries;
  }

  static async found(folder: string, { deployment, heads }: Deployed): Promise<Operator> {
    const proxies = { frames: await RecordingProxy.open("broker of frames"), scores: await RecordingProxy.open("broker of scores") };
    const operator = new Operator(folder, proxies, await RecordingEndpoint.open());
    const urls = { framesUrl: proxies.frames.url, scoresUrl: proxies.scores.url };
    await initService({ folder, name: "operator", hosts: ["127.0.0.1"], ...urls, tls: true, days: 2, nowMs: Date.now() });
    writeJsonFile(operator.deployment, deployment);
    writeJsonFile(join(folder, "head.json"), heads[0]);
    mkdirSync(join(folder, "tmp"));
    install(operator.installation);
    return operator;
  }

  /** Where its programs are. */
  get installation(): string {
    return `${this.folder}.installation`;
  }

  /** The register of the plant that it serves. */
  get register(): string {
    return join(this.folder, "register.json");
  }

  /**
   * Starts the services, saying all that they can say, and records what clients and brokers tell each other.
   * @param identity of the plant
   */
  async start(identity: string, clients: readonly Client[]): Promise<void> {
    const paths = servicePaths(this.folder);
    const tls = { certificate: paths.certificate, key: paths.key };
    const shared = { log: { path: "log.db", partitions: 1 }, plants: [{ register: this.register, identity }], audit: "audit.db" };
    const anyPort = { port: 0, tls };
    const [started] = await Promise.all([
      this.#start("stream-processor", { ...shared, deployments: [this.deployment], frames: anyPort, scores: anyPort }),
      this.#start("model-service", {
        ...shared,
        deployments: [{ deployment: this.deployment, heads: ["head.json"] }],
        signingKey: paths.signingKey,
        threads: 1,
      }),
    ]);
    const { framesUrl, scoresUrl } = JSON.parse(started) as Record<"framesUrl" | "scoresUrl", string>;
    const own = { certificate: readFileSync(paths.certificate, "utf8"), key: readFileSync(paths.key, "utf8") };
    for (const [proxy, url] of [
      [this.#proxies.frames, framesUrl],
      [this.#proxies.scores, scoresUrl],
    ] as const)
      proxy.record({ brokerPort: Number(new URL(url).port), tls: own, clients });
  }

  /** The newest frame that the log has. */
  newestFrame(): Uint8Array {
    using database = new Database(join(this.folder, "log.db"));
    const [row] = database.rows(
      "SELECT value FROM records JOIN slots USING (slot) WHERE topic = ? ORDER BY offset DESC LIMIT 1",
      LOG_TOPICS.frames,
    );
    return row!.value as Uint8Array;
  }

  /** Fetches every page of both services, and keeps the answers. */
  async fetchPages(): Promise<void> {
    for (const [service, { healthUrl }] of this.#processes) {
      for (const page of PAGES) {
        const answer = await fetch(`${healthUrl}/${page}`);
        const text = `${answer.status} ${[...answer.headers].join("\n")}\n${await answer.text()}`;
        this.#recorded.push({ name: `${service} /${page}`, bytes: Buffer.from(text) });
      }
    }
  }

  /** Every file of the folder as it is now: of databases that are in use, with the log that has still to go into them. */
  keepFiles(when: string): void {
    const files = readdirSync(this.folder, { recursive: true, encoding: "utf8" });
    this.#recorded.push({ name: `names of files ${when}`, bytes: Buffer.from(files.join("\n")) });
    for (const file of files) {
      const path = join(this.folder, file);
      if (statSync(path).isFile()) this.#recorded.push({ name: `${file} ${when}`, bytes: readFileSync(path) });
    }
  }

  /** Stops the services. */
  async stop(): Promise<void> {
    for (const [service, { process }] of this.#processes) {
      const { code, stdout, stderr } = await process.stop("SIGTERM");
      if (code !== 0) throw new Error(`${service} ended with ${code}:\n${stderr}`);
      this.#recorded.push({ name: `${service} standard output`, bytes: Buffer.from(stdout) });
      this.#recorded.push({ name: `${service} standard error`, bytes: Buffer.from(stderr) });
    }
  }

  /** All that the operator's side stored, logged or sent, and all that it was sent. */
  artefacts(): Artefact[] {
    // Large values lie in pieces in a database's file: they are looked at whole, too.
    const rows = ["log.db", "audit.db"].map((file) => {
      using database = new Database(join(this.folder, file));
      return { name: `rows of ${file}`, bytes: database.dump() };
    });
    return [
      ...this.#recorded,
      ...rows,
      ...Object.values(this.#proxies).flatMap((proxy) => proxy.artefacts()),
      ...this.timeSeries.artefacts(),
    ];
  }

  /** Files that the services have open; none where the system does not tell. */
  openFiles(): string[] {
    if (!existsSync("/proc/self/fd")) return [];
    const pids = SERVICES.flatMap((service) => this.#moduleFiles(service).map((file) => /-(\d+)-\d+$/.exec(file)![1]!));
    return [...new Set(pids)].flatMap((pid) => {
      const links = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
      return links.filter((link) => link.startsWith("/") && !/^\/(dev|proc|sys)\//.test(link));
    });
  }

  /** URLs of the modules that a service has loaded, in all of its threads. */
  loadedModules(service: OperatorService): string[] {
    const lines = this.#moduleFiles(service).flatMap((file) => readFileSync(file, "utf8").trimEnd().split("\n"));
    return [...new Set(lines)];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }

  /** One of each thread, with the process and the thread in its name. */
  #moduleFiles(service: OperatorService): string[] {
    const files = readdirSync(this.installation).filter((file) => file.startsWith(`modules-${service}-`));
    return files.map((file) => join(this.installation, file));
  }

  /** @returns its line that says so */
  async #start(service: OperatorService, config: object): Promise<string> {
    const file = join(this.folder, `${service}.json`);
    const monitoring = { health: { port: 0 }, timeSeries: this.timeSeries.settings(service) };
    writeJsonFile(file, { ...config, ...monitoring, logLevel: "trace" });
    const main = join(this.installation, service, "src/main.ts");
    const tmp = join(this.folder, "tmp");
    const env = { TMPDIR: tmp, RECORD_MODULES: join(this.installation, `modules-${service}`) };
    const args = ["--import", RECORDER, main, "--config", file];
    const process = this.#opened.use(new SmileProcess(globalThis.process.execPath, args, { cwd: tmp, env }));
    const served = JSON.parse(await process.line(/health and metrics are served/)) as { url: string };
    this.#processes.set(service, { process, healthUrl: served.url });
    return await process.line(STARTED[service]);
  }
}

/** "" for one that was closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/** The packages of the operator's side and no others, beside what npm installs for them. */
function install(folder: string): void {
  const modules = join(ROOT, "node_modules");
  mkdirSync(join(folder, "node_modules/@smile"), { recursive: true });
  for (const name of INSTALLED) {
    for (const part of ["package.json", "src"]) cpSync(join(ROOT, name, part), join(folder, name, part), { recursive: true });
    const own = join(ROOT, name, "node_modules");
    if (existsSync(own)) symlinkSync(own, join(folder, name, "node_modules"));
    symlinkSync(join(folder, name), join(folder, "node_modules/@smile", name));
  }
  const others = readdirSync(modules).filter((name) => !name.startsWith(".") && name !== "@smile");
  for (const name of others) symlinkSync(join(modules, name), join(folder, "node_modules", name));
}

/** A database of the operator's, only to be read. */
class Database implements Disposable {
  readonly #database: DatabaseSync;

  constructor(path: string) {
    this.#database = new DatabaseSync(path, { readOnly: true });
  }

  rows(statement: string, ...values: string[]): Record<string, unknown>[] {
    return this.#database.prepare(statement).all(...values);
  }

  /** Every value of every table. */
  dump(): Buffer {
    const tables = this.rows("SELECT name FROM sqlite_schema WHERE type = 'table'").map(({ name }) => name as string);
    const values = tables.flatMap((table) => this.rows(`SELECT * FROM "${table}"`).flatMap((row) => Object.values(row)));
    return Buffer.concat(values.flatMap((value) => [value instanceof Uint8Array ? value : Buffer.from(String(value)), Buffer.from("\n")]));
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
