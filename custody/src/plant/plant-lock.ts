import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";

/**
 * Lets one command at a time change a plant. The lock of a process that is not there any more counts for nothing; on a drive that
 * several computers share, only the file itself tells.
 * @throws {PipelineError} CONFIG_INVALID while another process holds it
 */
export function lockPlant(folder: string): Disposable {
  const path = join(folder, "plant.lock");
  const file = tryLock(path) ?? (isLeftBehind(path) ? tryLock(path) : undefined);
  if (file === undefined) {
    const what = `another command is changing the plant; if none is, remove ${path}`;
    throw new PipelineError("CONFIG_INVALID", what, { path });
  }
  writeSync(file, `${process.pid}\n`);
  closeSync(file);
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
}

function tryLock(path: string): number | undefined {
  try {
    return openSync(path, "wx", 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return undefined;
    throw new PipelineError("STORE_UNAVAILABLE", `${path} cannot be written`, { path }, error);
  }
}

/** Removes the lock of a process that has ended. */
function isLeftBehind(path: string): boolean {
  const pid = Number(readFileSync(path, "utf8"));
  if (!Number.isInteger(pid) || pid < 1) return false; // being written
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") return false;
    rmSync(path, { force: true });
    return true;
  }
}
