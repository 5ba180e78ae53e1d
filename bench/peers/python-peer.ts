import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type PeerRun, parsePeerRun } from "./way.ts";

const run = promisify(execFile);
const INSTALL_MS = 30 * 60_000;
const MEASURE_MS = 30 * 60_000;

/** A library that pip installs, and the script that measures the ways of using it. */
export type PythonPeer = {
  readonly name: string;
  /** Names requirements/ID.txt, with every version, and the folder that it is installed in. */
  readonly id: string;
  /** The Python that its packages are made for, "3.11". */
  readonly python: string;
  /** In python/. */
  readonly script: string;
};

export const PEERS: readonly PythonPeer[] = [
  { name: "TenSEAL", id: "tenseal", python: "3.11", script: "tenseal_ways.py" },
  // Its wheel holds a module for CPython 3.10, that of Ubuntu 22.04, and installs under any version.
  { name: "OpenFHE", id: "openfhe", python: "3.10", script: "openfhe_ways.py" },
  { name: "Concrete ML", id: "concrete-ml", python: "3.11", script: "concrete_ml_ways.py" },
];

/** Where the peers are installed when nothing else is said: the user's cache, which no other user can write to. */
export function defaultVenvFolder(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "smile-stream", "bench-peers");
}

/**
 * Installs the peer if it is not yet there, and measures it in a process of its own, one thread as far as that can be set.
 * Never throws: a peer that cannot be installed or run is named with the reason.
 * @param windowsPath what `writeWindows` wrote
 */
export async function measurePeer(
  peer: PythonPeer,
  { venvFolder, windowsPath, say }: { venvFolder: string; windowsPath: string; say: (line: string) => void },
): Promise<PeerRun> {
  try {
    const python = await install(peer, join(venvFolder, peer.id), say);
    say(`${peer.name}: measuring`);
    const resultPath = `${windowsPath}.${peer.id}`;
    rmSync(resultPath, { force: true });
    const script = fileURLToPath(new URL(`python/${peer.script}`, import.meta.url));
    const env = { ...process.env, OMP_NUM_THREADS: "1", OPENBLAS_NUM_THREADS: "1", RAYON_NUM_THREADS: "1", PYTHONDONTWRITEBYTECODE: "1" };
    await run(python, [script, windowsPath, resultPath], { env, timeout: MEASURE_MS, maxBuffer: 2 ** 26 });
    return parsePeerRun(readFileSync(resultPath, "utf8"));
  } catch (error) {
    return { peer: peer.name, missing: reasonOf(error) };
  }
}

/** @returns the interpreter of a virtual environment with exactly the packages of the requirements */
async function install(peer: PythonPeer, folder: string, say: (line: string) => void): Promise<string> {
  const requirements = fileURLToPath(new URL(`requirements/${peer.id}.txt`, import.meta.url));
  const wanted = readFileSync(requirements, "utf8");
  const python = process.platform === "win32" ? join(folder, "Scripts", "python.exe") : join(folder, "bin", "python");
  const mark = join(folder, "installed.txt");
  if (existsSync(mark) && readFileSync(mark, "utf8") === wanted) return python;
  const base = await findPython(peer.python);
  say(`${peer.name}: installing into ${folder}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  await run(base, ["-m", "venv", folder], { timeout: INSTALL_MS });
  await run(python, ["-m", "pip", "install", "--quiet", "--no-deps", "-r", requirements], { timeout: INSTALL_MS, maxBuffer: 2 ** 26 });
  // Last, so that a half-done installation is done again.
  writeFileSync(mark, wanted);
  return python;
}

/** @throws {Error} naming what was tried */
async function findPython(version: string): Promise<string> {
  const tried: string[] = [];
  for (const candidate of [`python${version}`, "python3", "python", ...pyenvPythons(version)]) {
    try {
      const { stdout } = await run(candidate, ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
      if (stdout.trim() === version) return candidate;
      tried.push(`${candidate} is ${stdout.trim()}`);
    } catch {
      tried.push(`${candidate} does not run`);
    }
  }
  throw new Error(`needs Python ${version}: ${tried.join(", ")}`);
}

function pyenvPythons(version: string): string[] {
  const versions = join(process.env.PYENV_ROOT ?? join(homedir(), ".pyenv"), "versions");
  if (!existsSync(versions)) return [];
  const fitting = readdirSync(versions).filter((name) => name.startsWith(`${version}.`));
  return fitting.map((name) => join(versions, name, "bin", "python3"));
}

/** The last lines that a command wrote, or what the error says. */
function reasonOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message?: string };
  const text = stderr?.trim() || message || String(error);
  return text.split("\n").slice(-3).join(" ").slice(-500);
}
