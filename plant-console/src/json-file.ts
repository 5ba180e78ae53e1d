import { existsSync, readFileSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";

/** @throws {PipelineError} FILE_MISSING or FILE_DAMAGED naming the file, never what it holds */
export function readJson(file: string): unknown {
  if (!existsSync(file)) throw new PipelineError("FILE_MISSING", `${file} does not exist`, { path: file });
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `${file} cannot be read`, { path: file }, error);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new PipelineError("FILE_DAMAGED", `${file} is not JSON`, { path: file }); // the parser's message quotes what may be a key
  }
}
