import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import type { Machine, Revision } from "./result.ts";

/** What a figure means little without. */
export function machineFacts(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryMb: Math.round(totalmem() / 2 ** 20),
    // Major and minor version: the rest names a machine's owner, not its speed.
    os: `${type()} ${release().split(".").slice(0, 2).join(".")} ${process.arch}`,
    node: process.version,
    load: Math.round(loadavg()[0]! * 100) / 100,
  };
}

/** The commit that the folder is at, and whether tracked files differ from it; null outside of git. */
export function revisionOf(folder: string): Revision {
  const git = (...args: string[]) => spawnSync("git", ["-C", folder, ...args], { encoding: "utf8" });
  const head = git("rev-parse", "HEAD");
  if (head.status !== 0) return { commit: null, changed: false };
  return { commit: head.stdout.trim(), changed: git("status", "--porcelain", "--untracked-files=no").stdout.trim() !== "" };
}
