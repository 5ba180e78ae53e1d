import { parseDocument } from "@smile/schemas/documents";
import type { z } from "zod";
import { readJsonFile } from "./json-file.ts";

/**
 * A document of a JSON file.
 * @param what names the file's role in the error, such as `deployment`
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, each naming the file; none quotes the content
 */
export function readDocument<T>(schema: z.ZodType<T>, path: string, what: string): T {
  return parseDocument(schema, readJsonFile(path, what), path);
}
