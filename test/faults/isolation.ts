import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";

const MARK = "SMILE_FAULTS_MOUNTS";
/** Util-linux: as root; else as the root of a user namespace, where the system allows that. */
const WAYS = [
  ["--mount", "--propagation", "private"],
  ["--user", "--map-root-user", "--mount", "--propagation", "private"],
];

/** Whether this process has mounts of its own, or could get none; undefined before `isolationOf` was tried. */
export function inOwnMounts(): "isolated" | "shared" | undefined {
  return process.env[MARK] as "isolated" | "shared" | undefined;
}

/**
 * Runs this program again in a mount namespace of its own, or as it is where the system gives none.
 * @param argv script and its arguments
 * @returns its exit code
 */
export async function isolationOf(argv: readonly string[]): Promise<number> {
  const way = WAYS.find((options) => spawnSync("unshare", [...options, "true"]).status === 0);
  const node = [process.execPath, ...argv];
  const [file, ...args] = way === undefined ? node : ["unshare", ...way, "--", ...node];
  const env = { ...process.env, [MARK]: way === undefined ? "shared" : "isolated" };
  const child = spawn(file!, args, { stdio: "inherit", env });
  // Ctrl-C reaches both of us; what is sent to one only, is handed on.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + constants.signals[signal!];
}
