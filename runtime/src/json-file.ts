import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";

/**
 * Parsed JSON of a file.
 * @param what names the file's role in the error
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED; neither quotes the content, which may be a key or a password
 */
export function readJsonFile(path: string, what: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `${what} file ${path} cannot be read`, { path }, error);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    // The parser's own message quotes the text around the mistake: only its position is passed on.
    const position = /at position \d+(?: \(line \d+ column \d+\))?/.exec(String(error))?.[0] ?? "at its end";
    throw new PipelineError("FILE_DAMAGED", `${what} file ${path} is not JSON ${position}`, { path });
  }
}

/**
 * Writes JSON so that a reader sees the old content or the new one, never half of it.
 * @param mode of the file; 0600 for what holds a secret
 * @throws {PipelineError} STORE_UNAVAILABLE
 */
export function writeJsonFile(path: string, value: unknown, mode = 0o644): void {
  const draft = `${path}.${process.pid}.tmp`;
  try {
    rmSync(draft, { force: true }); // of a process with this number that was killed: it would keep its mode
    writeFileSync(draft, `${JSON.stringify(value, null, 2)}\n`, { mode, flag: "wx", flush: true });
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw new PipelineError("STORE_UNAVAILABLE", `${path} cannot be written`, { path }, error);
  }
}
