import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";

const MOUNTS = "SMILE_FAULTS_MOUNTS";
/** Util-linux: as root; else as the root of a user namespace, where the system allows that. */
const WAYS = [
  ["--mount", "--propagation", "private"],
  ["--user", "--map-root-user", "--mount", "--propagation", "private"],
];
const SETPRIV = "/usr/bin/setpriv";

/** A command that the kernel ends together with us, even when we are killed; as it is where util-linux is missing. */
export function dyingWithUs(command: readonly string[]): readonly string[] {
  return existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL", "--", ...command] : command;
}

/** Whether this process has mounts of its own, or could get none; undefined before `runIsolated`. */
export function mountsOfThisProcess(): "own" | "shared" | undefined {
  return process.env[MOUNTS] as "own" | "shared" | undefined;
}

/**
 * Runs this program again in a mount namespace of its own, or as it is where the system gives none. Its folder for temporary files is gone
 * afterwards, whatever ended it.
 * @param argv script and its arguments
 * @returns its exit code
 */
export async function runIsolated(argv: readonly string[]): Promise<number> {
  const way = WAYS.find((options) => spawnSync("unshare", [...options, "true"]).status === 0);
  const node = dyingWithUs([process.execPath, ...argv]);
  const [file, ...args] = way === undefined ? node : ["unshare", ...way, "--", ...node];
  const scratch = mkdtempSync(join(tmpdir(), "smile-faults-"));
  try {
    const env = { ...process.env, [MOUNTS]: way === undefined ? "shared" : "own", TMPDIR: scratch };
    const child = spawn(file!, args, { stdio: "inherit", env });
    // Ctrl-C at a terminal reaches both of us; what only we are sent is handed on.
    process.on("SIGINT", () => {});
    process.on("SIGTERM", () => child.kill("SIGTERM"));
    const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    return code ?? 128 + constants.signals[signal!];
  } finally {
    rmSync(scratch, { recursive: true, force: true, maxRetries: 10 });
  }
}
