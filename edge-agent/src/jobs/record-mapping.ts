import { resolve } from "node:path";
import { ibmHrAttrition } from "@smile/features/records/ibm-hr-attrition";
import type { RecordMapping } from "@smile/features/records/record-spec";
import { readDocument } from "@smile/runtime/document-file";
import { RecordMappingDocument } from "@smile/schemas/record-documents";

/** Mappings that ship with the product, by name. */
export const shippedMappings: Readonly<Record<string, RecordMapping>> = { "ibm-hr-attrition": ibmHrAttrition };

/**
 * @param name of one that ships with the product, or path of a document
 * @param folder that a relative path starts from
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID
 */
export function readMapping(name: string, folder: string): RecordMapping {
  return Object.hasOwn(shippedMappings, name)
    ? shippedMappings[name]!
    : readDocument(RecordMappingDocument, resolve(folder, name), "mapping");
}
