import { readFileSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";

/**
 * Parsed JSON of a file.
 * @param what names the file's role in the error
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED; neither quotes the content, which may be a key
 */
export function readJson(path: string, what: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `${what} file ${path} cannot be read`, { path }, error);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new PipelineError("FILE_DAMAGED", `${what} file ${path} is not JSON`, { path });
  }
}
