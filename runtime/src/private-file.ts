import { closeSync, fstatSync, openSync, readFileSync, type Stats, statSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";

/** Whether anyone but the owner may read or write. Windows has no such mode; its access lists are the administrator's. */
const isOpenToOthers = ({ mode }: Stats) => process.platform !== "win32" && (mode & 0o077) !== 0;

/**
 * Refuses a file that anyone but its owner may read or write. One that is missing passes: whoever opens it tells.
 * @param what names the file's role in the error
 * @throws {PipelineError} CONFIG_INVALID
 */
export function checkPrivate(path: string, what: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found !== undefined && isOpenToOthers(found)) {
    throw new PipelineError("CONFIG_INVALID", `${path}: a ${what} must have mode 0600`, { path });
  }
}

/**
 * Text of a file.
 * @param what the configuration key that names it, for errors
 * @param secret what secret it holds, which nobody else may read; null where it holds none
 * @throws {PipelineError} FILE_MISSING; CONFIG_INVALID when others may read a secret
 */
export function readTextFile(path: string, what: string, secret: string | null): string {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    if (secret !== null && isOpenToOthers(fstatSync(file))) {
      throw new PipelineError("CONFIG_INVALID", `${what}: ${path} must have mode 0600: it holds a ${secret}`, { path });
    }
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    throw new PipelineError("FILE_MISSING", `${what}: ${path} cannot be read`, { path }, error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
