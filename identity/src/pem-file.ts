import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";

/** Text of a PEM file. @param what names the file's role in the error. @throws {PipelineError} FILE_MISSING */
export function readPemFile(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `${what} file ${path} cannot be read`, { path }, error);
  }
}

/**
 * Writes PEM text so that a reader sees the old content or the new one.
 * @param mode 0600 for a secret key
 * @throws {PipelineError} STORE_UNAVAILABLE
 */
export function writePemFile(path: string, pem: string, mode: 0o600 | 0o644): void {
  const draft = `${path}.${process.pid}.tmp`;
  try {
    rmSync(draft, { force: true }); // of a process with this number that was killed: it would keep its mode
    writeFileSync(draft, pem, { mode, flag: "wx", flush: true });
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw new PipelineError("STORE_UNAVAILABLE", `${path} cannot be written`, { path }, error);
  }
}
