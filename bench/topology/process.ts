import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** Clock ticks per second of /proc/PID/stat (`getconf CLK_TCK`; 100 on Linux wherever Node runs). */
const TICKS = 100;
const PAGE_BYTES = 4096;

/** What a process has used so far. */
export type Usage = { readonly cpuSeconds: number; readonly rssMb: number; readonly peakRssMb: number; readonly files: number };

/** A process of the measured topology, and what it uses by /proc: Linux only. */
export class Measured implements AsyncDisposable {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #wanted = new Set<(line: string) => void>();

  constructor(name: string, file: string, args: readonly string[], options: { cwd: string; env?: NodeJS.ProcessEnv; ipc?: boolean }) {
    this.name = name;
    const stdio = ["ignore", "pipe", "pipe", ...(options.ipc ? (["ipc"] as const) : [])] as const;
    this.#child = spawn(file, args, { cwd: options.cwd, env: { ...process.env, ...options.env }, stdio: [...stdio] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input: stream }).on("line", (line) => {
        this.#lines.push(line);
        if (this.#lines.length > 200) this.#lines.shift();
        for (const each of this.#wanted) each(line);
      });
    }
  }

  get child(): ChildProcess {
    return this.#child;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Resolves with a line that matches. @throws {Error} with the last lines when the process ends before */
  async line(pattern: RegExp): Promise<string> {
    const before = this.#lines.find((line) => pattern.test(line));
    if (before !== undefined) return before;
    const { promise, resolve } = Promise.withResolvers<string>();
    const wanted = (line: string) => {
      if (pattern.test(line)) resolve(line);
    };
    this.#wanted.add(wanted);
    const ended = once(this.#child, "close").then(([code]) => {
      throw new Error(`${this.name} ended with ${code}:\n${this.lastLines()}`);
    });
    try {
      return await Promise.race([promise, ended]);
    } finally {
      this.#wanted.delete(wanted);
      ended.catch(() => {});
    }
  }

  lastLines(): string {
    return this.#lines.slice(-20).join("\n");
  }

  usage(): Usage {
    return usageOf(this.pid);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (!this.isRunning) return;
    const ended = once(this.#child, "close");
    this.#child.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const late = setTimeout(() => this.#child.kill("SIGKILL"), 15_000);
    await this.stop();
    clearTimeout(late);
  }
}

/** By proc(5). */
export function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may hold blanks; user time is the 12th field behind it, system time the 13th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const peakKb = Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
    rssMb: (Number(fields[21]) * PAGE_BYTES) / 2 ** 20,
    peakRssMb: peakKb / 1024,
    files: readdirSync(`/proc/${pid}/fd`).length,
  };
}
