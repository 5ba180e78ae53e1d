import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** How a disk can be made full on this machine: a file system of its own in a mount namespace, or a limit of the process; or not at all. */
export type DiskKind = "tmpfs" | "file-size-limit" | "none";

const TMPFS_MIB = 24;
const FILLER = "filler";
const ZEROS = Buffer.alloc(1 << 20);

/**
 * The folder of one gateway, on a disk that can be filled up and emptied again. The tmpfs needs the mount namespace that `main.ts` runs
 * itself in, and goes with it.
 */
export class GatewayDisk implements Disposable {
  readonly path: string;
  readonly #kind: DiskKind;
  /** The process whose files may not grow. */
  #limited: number | undefined;

  constructor(path: string, kind: DiskKind) {
    this.path = path;
    this.#kind = kind;
    mkdirSync(path, { recursive: true });
    if (kind === "tmpfs") execFileSync("mount", ["-t", "tmpfs", "-o", `size=${TMPFS_MIB}m`, "smile-faults", path]);
  }

  /** From here on nothing can be written beyond what is there, until somebody deletes something. @param pid of the process that writes */
  fill(pid: number | undefined): void {
    if (pid === undefined) return; // just being started again
    if (this.#kind === "tmpfs") {
      try {
        for (;;) appendFileSync(join(this.path, FILLER), ZEROS);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
    } else if (this.#kind === "file-size-limit") {
      if (this.#limited !== pid) execFileSync("prlimit", ["--pid", String(pid), "--fsize=0:unlimited"]);
      this.#limited = pid;
    } else throw new Error("this machine has no way to fill a disk");
  }

  empty(pid: number | undefined): void {
    if (this.#kind === "tmpfs") rmSync(join(this.path, FILLER), { force: true });
    else if (pid !== undefined && pid === this.#limited) execFileSync("prlimit", ["--pid", String(pid), "--fsize=unlimited:unlimited"]);
    this.#limited = undefined;
  }

  [Symbol.dispose](): void {
    if (this.#kind === "tmpfs") execFileSync("umount", ["--lazy", this.path]);
  }
}

/** What this process can do, asked by doing it. @param isolated whether mounts of this process are nobody else's */
export function diskKind(isolated: boolean, scratch: string): DiskKind {
  if (isolated && works(() => new GatewayDisk(join(scratch, "probe"), "tmpfs")[Symbol.dispose]())) return "tmpfs";
  return works(() => execFileSync("prlimit", ["--version"], { stdio: "ignore" })) ? "file-size-limit" : "none";
}

function works(attempt: () => void): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
}
