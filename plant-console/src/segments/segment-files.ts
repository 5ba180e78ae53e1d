import { PipelineError } from "@smile/errors/pipeline-error";
import { featureCount } from "@smile/features/feature-count";
import type { Environment } from "@smile/runtime/config";
import { readAnyDeployment, readDocument } from "@smile/runtime/document-file";
import { documentId } from "@smile/schemas/documents";
import { type SegmentDeployment, type SegmentProfiles, SegmentProfilesDocument } from "@smile/schemas/record-documents";
import type { SegmentConsoleConfig } from "./config.ts";

export type SegmentDocuments = { readonly deployment: SegmentDeployment; readonly profiles: SegmentProfiles | null };

/**
 * The documents that a console of jobs is configured with.
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED; DOCUMENT_INVALID, also for a deployment of machines, and for profiles that are not
 *   of one of its heads
 */
export function readSegmentDocuments(config: Pick<SegmentConsoleConfig, "deployment" | "profiles">, env: Environment): SegmentDocuments {
  const deployment = readAnyDeployment(config.deployment, env);
  if (deployment.kind !== "segment-deployment")
    throw new PipelineError("DOCUMENT_INVALID", `${config.deployment}: kind: is a deployment for machines, not for records`, {});
  if (config.profiles === undefined) return { deployment, profiles: null };
  const profiles = readDocument(SegmentProfilesDocument, config.profiles, "profiles");
  const card = deployment.cards.find(({ headId }) => headId === profiles.headId);
  const fits =
    card?.segments.length === profiles.segments.length &&
    profiles.featureSetId === documentId(deployment.featureSet) &&
    profiles.featureNames.length === featureCount(deployment.featureSet);
  if (!fits) throw new PipelineError("DOCUMENT_INVALID", `${config.profiles}: headId: is not the deployment's model`, {});
  return { deployment, profiles };
}
