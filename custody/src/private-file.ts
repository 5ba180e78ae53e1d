import { statSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";

/**
 * Refuses a file that anyone but its owner may read or write. One that is missing passes: whoever opens it tells.
 * @param what names the file's role in the error
 * @throws {PipelineError} CONFIG_INVALID
 */
export function checkPrivate(path: string, what: string): void {
  // Windows has no such mode; its access lists are the administrator's.
  if (process.platform === "win32") return;
  const found = statSync(path, { throwIfNoEntry: false });
  if (found !== undefined && (found.mode & 0o077) !== 0) {
    throw new PipelineError("CONFIG_INVALID", `${path}: a ${what} must have mode 0600`, { path });
  }
}
