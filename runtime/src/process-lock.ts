import { closeSync, existsSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { PipelineError } from "@smile/errors/pipeline-error";

/** SQLite's result code SQLITE_BUSY, in the lowest byte of what it gives. */
const BUSY = 5;

/**
 * Lets one process at a time do something. The lock is SQLite's on an empty file: the operating system's own, which ends with its
 * process however that ends, and which processes of other containers meet too. The file stays.
 * @param busy made and thrown while somebody else holds it
 * @throws {PipelineError} STORE_UNAVAILABLE
 */
export function lockForProcess(path: string, busy: () => PipelineError): Disposable {
  let file: DatabaseSync | undefined;
  try {
    // Not where it stands: closing a file ends the locks that this process has on it.
    if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
    file = new DatabaseSync(path, { timeout: 0 });
    file.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    file?.close();
    const { errcode = 0 } = error as { errcode?: number };
    if ((errcode & 0xff) === BUSY) throw busy();
    throw new PipelineError("STORE_UNAVAILABLE", `${path} cannot be locked`, { path }, error);
  }
  const held = file;
  return { [Symbol.dispose]: () => held.close() };
}
