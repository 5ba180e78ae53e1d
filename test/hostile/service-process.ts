import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { dyingWithUs } from "../faults/isolation.ts";
import { type Figures, parseFigures } from "./figures.ts";

const START_MS = 60_000;
const LOOK_MS = 50;
/** A service that does not answer for this long does not live, however busy the machine is. */
const ANSWER_MS = 30_000;

/** One service as a process of its own, which nobody starts again: to end is what it must not do. */
export class ServiceProcess implements AsyncDisposable {
  readonly name: string;
  readonly #healthUrl: string;
  readonly #logPath: string;
  readonly #child: ChildProcess;
  #isStopping = false;
  #watching: Promise<void> | undefined;
  /** Ends that nobody asked for, and times that it was not healthy or not ready after its start. */
  readonly crashes: string[] = [];
  /** Largest resident memory so far, as the kernel counts it. */
  peakRssMb = 0;

  /** @param argv of node */
  constructor(options: { name: string; argv: readonly string[]; healthPort: number; logPath: string }) {
    this.name = options.name;
    this.#healthUrl = `http://127.0.0.1:${options.healthPort}`;
    this.#logPath = options.logPath;
    const [file, ...args] = dyingWithUs([process.execPath, ...options.argv]);
    this.#child = spawn(file!, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.on("data", (chunk: Buffer) => appendFileSync(this.#logPath, chunk));
    this.#child.once("close", (code, signal) => {
      if (!this.#isStopping) this.crashes.push(`${this.name} ended with ${code ?? signal}:\n${this.tail()}`);
    });
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Waits until it says that it is ready, and watches it from there on. @throws {Error} with its last lines when it does not */
  async ready(): Promise<void> {
    for (const untilMs = performance.now() + START_MS; ; await delay(LOOK_MS)) {
      if (this.hasEnded || performance.now() > untilMs) throw new Error(`${this.name} did not start:\n${this.tail()}`);
      const answer = await fetch(`${this.#healthUrl}/readyz`).catch(() => undefined);
      await answer?.body?.cancel();
      if (answer?.ok) break;
    }
    this.#watching = this.#watch();
  }

  /** @throws {Error} when it does not answer */
  async figures(): Promise<Figures> {
    const answer = await fetch(`${this.#healthUrl}/metrics`, { signal: AbortSignal.timeout(ANSWER_MS) });
    return parseFigures(await answer.text());
  }

  /** The last lines that it wrote. */
  tail(lines = 12): string {
    return existsSync(this.#logPath) ? readFileSync(this.#logPath, "utf8").trimEnd().split("\n").slice(-lines).join("\n") : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#measure();
    if (!this.hasEnded) {
      const closed = once(this.#child, "close");
      this.#child.kill("SIGKILL");
      await closed;
    }
    await this.#watching;
  }

  /** Memory and health, until it ends or is stopped. */
  async #watch(): Promise<void> {
    let isWell = true;
    for (; !this.#isStopping && !this.hasEnded; await delay(500, undefined, { ref: false })) {
      this.#measure();
      const state = await this.#state();
      if (this.#isStopping || this.hasEnded) return;
      if (isWell && state !== "well") this.crashes.push(`${this.name} was ${state}`);
      isWell = state === "well";
    }
  }

  async #state(): Promise<string> {
    for (const path of ["/healthz", "/readyz"]) {
      try {
        const answer = await fetch(`${this.#healthUrl}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) });
        const text = await answer.text();
        if (!answer.ok) return `not well at ${path}: ${text}`;
      } catch (error) {
        return `silent at ${path}: ${error}`;
      }
    }
    return "well";
  }

  #measure(): void {
    const status = `/proc/${this.#child.pid}/status`;
    if (!existsSync(status)) return;
    const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(status, "utf8")) ?? [];
    this.peakRssMb = Math.max(this.peakRssMb, Number(kilobytes ?? 0) / 1024);
  }
}
