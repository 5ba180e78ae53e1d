import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** Top of the checkout. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = join(ROOT, "cli/src/main.ts");

/** How a process ended: exit code or signal, and all that it wrote. */
export type Ended = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type ProcessOptions = {
  readonly cwd?: string;
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** "pipe" where the test writes to its standard input; otherwise it has none. */
  readonly stdin?: "pipe";
};

/** A real process, killed at the latest when it is disposed of. */
export class SmileProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #out: string[] = [];
  readonly #err: string[] = [];
  readonly #wanted = new Set<{ readonly test: (line: string) => boolean; readonly found: (line: string) => void }>();
  readonly ended: Promise<Ended>;

  constructor(file: string, args: readonly string[], { cwd, env, stdin }: ProcessOptions = {}) {
    // A group of its own: of a shell's pipeline, every member is reached.
    const stdio = [stdin ?? "ignore", "pipe", "pipe"] as const;
    this.#child = spawn(file, args, { cwd, env: { ...process.env, ...env }, stdio: [...stdio], detached: true });
    for (const [stream, kept] of [
      [this.#child.stdout!, this.#out],
      [this.#child.stderr!, this.#err],
    ] as const) {
      createInterface({ input: stream }).on("line", (line) => {
        kept.push(line);
        this.#lines.push(line);
        for (const each of this.#wanted) if (each.test(line)) each.found(line);
      });
    }
    this.ended = once(this.#child, "close").then(([code, signal]) => ({
      code,
      signal,
      stdout: this.#out.map((line) => `${line}\n`).join(""),
      stderr: this.#err.map((line) => `${line}\n`).join(""),
    }));
    this.ended.catch(() => {}); // whoever awaits it sees the error
  }

  /**
   * The first line, of either stream, that matches; also one that was written before.
   * @throws {Error} with all that was written when the process ends without such a line
   */
  async line(pattern: RegExp): Promise<string> {
    const before = this.#lines.find((line) => pattern.test(line));
    if (before !== undefined) return before;
    const { promise, resolve: found } = Promise.withResolvers<string>();
    const wanted = { test: (line: string) => pattern.test(line), found };
    this.#wanted.add(wanted);
    try {
      const ended = this.ended.then(({ code, signal, stdout, stderr }) => {
        throw new Error(`ended with ${code ?? signal} before a line matched ${pattern}:\n${stdout}${stderr}`);
      });
      return await Promise.race([promise, ended]);
    } finally {
      this.#wanted.delete(wanted);
    }
  }

  /** What the process reads on its standard input. Ends by `end()`. */
  get stdin(): Writable {
    return this.#child.stdin!;
  }

  /** Sends a signal to the process and what it started, and waits for the end. */
  async stop(signal: NodeJS.Signals): Promise<Ended> {
    this.#kill(signal);
    return await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill("SIGKILL");
    await this.ended.catch(() => {});
  }

  #kill(signal: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It ended in the meantime.
    }
  }
}

/** Starts `smile` with these arguments. */
export function startSmile(args: readonly string[], options?: ProcessOptions): SmileProcess {
  return new SmileProcess(process.execPath, [MAIN, ...args], options);
}

/** Starts a line of shell, in which `smile` is this checkout's. A pipeline fails with any of its members. */
export function startShell(line: string, options: ProcessOptions = {}): SmileProcess {
  const path = `${join(ROOT, "node_modules/.bin")}:${process.env.PATH ?? ""}`;
  return new SmileProcess("bash", ["-c", `set -eo pipefail; ${line}`], { ...options, env: { ...options.env, PATH: path } });
}

/** Runs `smile` to its end. */
export async function smile(args: readonly string[], options?: ProcessOptions): Promise<Ended> {
  return await startSmile(args, options).ended;
}
