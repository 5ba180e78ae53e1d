import { PipelineError } from "@smile/errors/pipeline-error";
import { featureCount } from "@smile/features/feature-count";
import { laneCount } from "@smile/he/lanes";
import { type Params, paramsId } from "@smile/he/params";
import { documentId } from "@smile/schemas/documents";
import type { CiphertextKind } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { AnyDeployment } from "@smile/schemas/record-documents";

/** What every frame of an agent has in common. The key may change while the agent runs. */
export type FrameFormat = {
  readonly kind: Omit<CiphertextKind, "keyId">;
  readonly params: Params;
  /** F: integers per window or record. */
  readonly featureCount: number;
  /** L: lanes per ciphertext. */
  readonly lanes: number;
};

/**
 * The format that a deployment asks for.
 * @throws {PipelineError} DOCUMENT_INVALID when the ciphertext has no room for the deployment's lanes
 */
export function frameFormat(plant: string, deployment: Pick<AnyDeployment, "featureSet" | "params" | "keyMode" | "lanes">): FrameFormat {
  const params = paramsFromDocument(deployment.params);
  const features = featureCount(deployment.featureSet);
  const room = laneCount(params.n, features);
  if (deployment.lanes > room) {
    throw new PipelineError("DOCUMENT_INVALID", `deployment: lanes is ${deployment.lanes}; N = ${params.n} has room for ${room}`, {
      lanes: deployment.lanes,
      room,
    });
  }
  return {
    kind: {
      plant,
      scheme: params.scheme,
      keyMode: deployment.keyMode,
      paramsId: paramsId(params),
      featureSetId: documentId(deployment.featureSet),
    },
    params,
    featureCount: features,
    lanes: deployment.lanes,
  };
}
