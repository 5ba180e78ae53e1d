import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { ModelPrivacy } from "@smile/he/planner";
import { ServedFilesDocument } from "@smile/model-service/served-files";
import type { Environment } from "@smile/runtime/config";
import { readAnyDeployment, readDocument } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { documentId, type Head, HeadDocument } from "@smile/schemas/documents";
import { type SegmentDeployment, type SegmentProfiles, SegmentProfilesDocument } from "@smile/schemas/record-documents";

/** A segment model with all that belongs to it. */
export type SegmentModel = {
  /** Public: for operator, console and source. */
  readonly deployment: SegmentDeployment;
  /** For the model service alone. */
  readonly heads: readonly Head[];
  readonly modelPrivacy: ModelPrivacy;
  /** For the organisation alone. */
  readonly profiles: SegmentProfiles;
};

const files = { deployment: "deployment.json", head: "head.json", served: "model-service.json", profiles: "profiles.json" } as const;

/** @returns paths of the files @throws {PipelineError} STORE_UNAVAILABLE */
export function writeModel(folder: string, { deployment, heads, modelPrivacy, profiles }: SegmentModel) {
  const at = Object.fromEntries(Object.entries(files).map(([what, name]) => [what, join(folder, name)])) as Record<
    keyof typeof files,
    string
  >;
  mkdirSync(folder, { recursive: true });
  writeJsonFile(at.deployment, deployment);
  writeJsonFile(at.head, heads[0], 0o600);
  writeJsonFile(at.served, { deployment: files.deployment, heads: [files.head], modelPrivacy });
  writeJsonFile(at.profiles, profiles, 0o600);
  return at;
}

/**
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID: also when the files are not of one model
 */
export function readModel(folder: string, env: Environment): SegmentModel {
  const at = (name: string) => join(folder, name);
  const deployment = readAnyDeployment(at(files.deployment), env);
  const head = readDocument(HeadDocument, at(files.head), "head");
  const { modelPrivacy } = readDocument(ServedFilesDocument, at(files.served), "model service");
  const profiles = readDocument(SegmentProfilesDocument, at(files.profiles), "profiles");
  const headId = documentId(head);
  if (deployment.kind !== "segment-deployment" || deployment.cards[0]!.headId !== headId || profiles.headId !== headId) {
    throw new PipelineError("DOCUMENT_INVALID", `${folder}: deployment, head and profiles are not of one segment model`, { folder });
  }
  return { deployment, heads: [head], modelPrivacy, profiles };
}
