import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi } from "vitest";

/** Whether Debian's package victoria-metrics is installed here. */
export const hasVictoriaMetrics = spawnSync("victoria-metrics", ["-version"]).status === 0;
/** CI sets this: then a test that would be skipped for want of a program fails instead. */
export const mustHaveBrokers = process.env.SMILE_REQUIRE_BROKERS === "1";

/** One stored series: labels (the name is `__name__`), values, and their times in ms. */
export type Series = { readonly metric: Record<string, string>; readonly values: number[]; readonly timestamps: number[] };

/** A real VictoriaMetrics on a free port of this machine, with data in a folder of its own that goes with it. */
export class VictoriaMetrics implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "smile-victoria-"));
  readonly #port: number;
  #child: ChildProcess | undefined;

  private constructor(port: number) {
    this.#port = port;
  }

  /** @param isRunning false keeps its port and starts nothing yet */
  static async open(isRunning = true): Promise<VictoriaMetrics> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const opened = new VictoriaMetrics(port);
    if (isRunning) await opened.start();
    return opened;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const options = ["-storageDataPath", this.#folder, "-httpListenAddr", `127.0.0.1:${this.#port}`];
    const limits = ["-retentionPeriod=100y", "-memory.allowedBytes=64MB", "-loggerLevel=ERROR"];
    this.#child = spawn("victoria-metrics", [...options, ...limits], { stdio: "ignore" });
    const answers = () =>
      fetch(`${this.url}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
    await vi.waitUntil(answers, { timeout: 15_000, interval: 20 });
  }

  /** Ends it; what it stored is there after the next `start`. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  }

  /** Everything that is stored under names that match. */
  async series(names: RegExp): Promise<Series[]> {
    await fetch(`${this.url}/internal/force_flush`);
    const query = new URLSearchParams({ "match[]": `{__name__=~"${names.source}"}`, start: "0" });
    const answer = await fetch(`${this.url}/api/v1/export?${query}`);
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Series);
  }

  /** The same once it holds so many values: what is new becomes visible a moment after it was taken. */
  async seriesWith(values: number, names: RegExp): Promise<Series[]> {
    return await vi.waitUntil(
      async () => {
        const stored = await this.series(names);
        return stored.reduce((sum, each) => sum + each.values.length, 0) >= values && stored;
      },
      { timeout: 10_000, interval: 50 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
