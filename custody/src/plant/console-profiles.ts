import { existsSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { readDocument } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { type AnyDeployment, type SegmentProfiles, SegmentProfilesDocument } from "@smile/schemas/record-documents";
import { PROFILES } from "./config-files.ts";

/**
 * The profiles that `smile segment train` wrote beside a deployment for records, where they are.
 * @param file path of the deployment document
 * @throws {PipelineError} FILE_DAMAGED; DOCUMENT_INVALID, also for those of another model
 */
export function profilesBeside(file: string, deployment: AnyDeployment): SegmentProfiles | null {
  const path = join(dirname(file), PROFILES);
  if (deployment.kind !== "segment-deployment" || !existsSync(path)) return null;
  const profiles = readDocument(SegmentProfilesDocument, path, "profiles");
  if (deployment.cards.some(({ headId }) => headId === profiles.headId)) return profiles;
  throw new PipelineError("DOCUMENT_INVALID", `${path}: headId: is of another model than ${file}`, { path });
}

/** Puts them into the console's folder, or takes those of another model away. */
export function writeProfiles(folder: string, profiles: SegmentProfiles | null): void {
  const path = join(folder, PROFILES);
  if (profiles === null) rmSync(path, { force: true });
  else if (existsSync(folder)) writeJsonFile(path, profiles, 0o600);
}
