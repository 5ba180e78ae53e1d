import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";

/** Another revision's code, checked out beside this one and ready to run. Dispose of it. */
export type Worktree = Disposable & { readonly folder: string; readonly commit: string };

const WORKSPACE = "@smile";

/**
 * Checks a revision out into a temporary folder. Its packages are its own, their dependencies are links to those installed here, and
 * the bench is this one, so that both revisions are measured by the same harness.
 * @throws {PipelineError} CONFIG_INVALID when git knows no such revision
 */
export function openWorktree(root: string, revision: string): Worktree {
  const git = (...args: string[]) => spawnSync("git", ["-C", root, ...args], { encoding: "utf8" });
  const found = git("rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`);
  if (found.status !== 0) throw new PipelineError("CONFIG_INVALID", `compare: ${revision} is neither a file nor a revision`, { revision });
  const commit = found.stdout.trim();
  const parent = mkdtempSync(join(tmpdir(), "smile-bench-"));
  const folder = join(parent, "revision");
  const dispose = () => {
    git("worktree", "remove", "--force", folder);
    rmSync(parent, { recursive: true, force: true });
  };
  try {
    const added = git("worktree", "add", "--detach", folder, commit);
    if (added.status !== 0) throw new Error(`git worktree add: ${added.stderr.trim()}`);
    linkDependencies(root, folder);
    rmSync(join(folder, "bench"), { recursive: true, force: true });
    cpSync(join(root, "bench"), join(folder, "bench"), { recursive: true });
  } catch (error) {
    dispose();
    throw error;
  }
  return { folder, commit, [Symbol.dispose]: dispose };
}

/** Everything installed, but for the workspace's own packages: those are the other revision's. */
function linkDependencies(root: string, folder: string): void {
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, WORKSPACE), { recursive: true });
  for (const entry of readdirSync(join(root, "node_modules")))
    if (entry !== WORKSPACE) symlinkSync(join(root, "node_modules", entry), join(modules, entry));
  const { workspaces } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { workspaces: string[] };
  for (const home of workspaces) {
    symlinkSync(join(folder, home), join(modules, WORKSPACE, basename(home)));
    const own = join(root, home, "node_modules");
    if (existsSync(own)) symlinkSync(own, join(folder, home, "node_modules"));
  }
}
