import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { dyingWithUs } from "./isolation.ts";

const START_MS = 60_000;
const RESTART_MS = 250;
/** sysexits.h: starting again without a change is pointless. */
const EX_CONFIG = 78;
const LOOK_MS = 20;

export type SupervisedOptions = {
  readonly name: string;
  /** Arguments of node. */
  readonly argv: readonly string[];
  /** Where what it writes goes; appended to over restarts. */
  readonly logPath: string;
  /** What it writes once it takes work. */
  readonly started: string;
  /** Given a process whose standard input is open, each time it has started. Without it there is none. */
  readonly onStarted?: (child: ChildProcess) => void;
};

/** A service as a process of its own under a supervisor, as systemd or Kubernetes would have it: what ends by itself is started again. */
export class Supervised implements AsyncDisposable {
  readonly #options: SupervisedOptions;
  #child: ChildProcess | undefined;
  #up: Promise<void> = Promise.resolve();
  /** What the harness wants: a process that ends while it is wanted is started again. */
  #wanted = false;
  #turn: Promise<void> = Promise.resolve();
  readonly #ended = Promise.withResolvers<void>();
  /** Times that it ended by itself, with an error. */
  exits = 0;
  /** Why it cannot be started again. */
  failure: Error | undefined;

  constructor(options: SupervisedOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the process has ended by itself with exit code 0. */
  get done(): Promise<void> {
    return this.#ended.promise;
  }

  /** Runs what must not overlap: nobody freezes a process that somebody else has killed. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  /**
   * Starts it and waits until it takes work, also where it ends by itself first, because what it needs is away just then.
   * @throws {Error} with its last lines when it does not
   */
  async start(): Promise<void> {
    this.#wanted = true;
    if (this.#child === undefined) this.#spawn();
    for (const untilMs = performance.now() + START_MS; ; ) {
      try {
        return await this.#up;
      } catch (error) {
        if (this.failure) throw this.failure;
        if (performance.now() > untilMs) throw error;
        await delay(RESTART_MS);
      }
    }
  }

  async kill(): Promise<void> {
    this.#wanted = false;
    await this.#end("SIGKILL");
  }

  /** @returns exit code, or the signal's name, and how long it took */
  async stop(): Promise<{ readonly end: number | string; readonly ms: number }> {
    this.#wanted = false;
    const child = this.#child;
    if (child === undefined) return { end: "not running", ms: 0 };
    const fromMs = performance.now();
    await this.#end("SIGTERM");
    return { end: child.exitCode ?? child.signalCode ?? "unknown", ms: performance.now() - fromMs };
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** The last lines that it wrote. */
  tail(lines = 12): string {
    return existsSync(this.#options.logPath)
      ? readFileSync(this.#options.logPath, "utf8").trimEnd().split("\n").slice(-lines).join("\n")
      : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #spawn(): void {
    const { argv, logPath, onStarted } = this.#options;
    const before = existsSync(logPath) ? readFileSync(logPath, "utf8").length : 0;
    appendFileSync(logPath, "");
    const [file, ...args] = dyingWithUs([process.execPath, ...argv]);
    // A group of its own: Ctrl-C at a terminal is for the harness.
    const child = spawn(file!, args, { stdio: [onStarted ? "pipe" : "ignore", "pipe", "pipe"], detached: true });
    // Written by us: a process whose disk is full, or whose files may not grow, still tells what it does.
    for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk: Buffer) => appendFileSync(logPath, chunk));
    this.#child = child;
    child.once("close", (code) => void this.#closed(child, code));
    this.#up = this.#untilStarted(child, before);
    this.#up.catch(() => {});
    onStarted?.(child);
  }

  async #closed(child: ChildProcess, code: number | null): Promise<void> {
    if (this.#child === child) this.#child = undefined;
    if (!this.#wanted) return;
    if (code === 0) {
      this.#wanted = false;
      return this.#ended.resolve();
    }
    this.exits += 1;
    if (code === EX_CONFIG) {
      this.failure = new Error(`${this.name} is misconfigured:\n${this.tail()}`);
      return;
    }
    await delay(RESTART_MS);
    if (this.#wanted && this.#child === undefined) this.#spawn();
  }

  async #untilStarted(child: ChildProcess, before: number): Promise<void> {
    const { logPath, started } = this.#options;
    const untilMs = performance.now() + START_MS;
    while (!readFileSync(logPath, "utf8").slice(before).includes(started)) {
      if (child.exitCode !== null || child.signalCode !== null || performance.now() > untilMs)
        throw new Error(`${this.name} did not start:\n${this.tail()}`);
      await delay(LOOK_MS);
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const closed = once(child, "close");
    child.kill(signal);
    await closed;
    if (this.#child === child) this.#child = undefined;
  }
}
