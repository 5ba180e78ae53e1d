import { PipelineError } from "@smile/errors/pipeline-error";
import { featureCount } from "@smile/features/feature-count";
import { type Params, paramsId } from "@smile/he/params";
import { documentId } from "@smile/schemas/documents";
import type { CiphertextKind } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { AnyDeployment } from "@smile/schemas/record-documents";

/** What the stream processor knows of one deployment: enough to check and to merge ciphertexts, nothing of any head. */
export type DeployedKind = {
  readonly params: Params;
  readonly keyMode: AnyDeployment["keyMode"];
  readonly featureCount: number;
  /** L: lanes per ciphertext. */
  readonly lanes: number;
  readonly maxMerges: number;
};

/** The deployments that frames may belong to, found by what every envelope names. */
export class Catalogue {
  readonly #params = new Set<string>();
  readonly #kinds = new Map<string, DeployedKind>();

  constructor(deployments: readonly AnyDeployment[]) {
    for (const deployment of deployments) {
      const params = paramsFromDocument(deployment.params);
      this.#params.add(paramsId(params));
      this.#kinds.set(`${paramsId(params)} ${documentId(deployment.featureSet)} ${deployment.keyMode}`, {
        params,
        keyMode: deployment.keyMode,
        featureCount: featureCount(deployment.featureSet),
        lanes: deployment.lanes,
        maxMerges: deployment.maxMerges,
      });
    }
  }

  /** @throws {PipelineError} PARAMS_UNKNOWN, FEATURE_SET_UNKNOWN */
  find({ paramsId: params, featureSetId, keyMode, scheme }: CiphertextKind): DeployedKind {
    if (!this.#params.has(params)) throw new PipelineError("PARAMS_UNKNOWN", `no deployment uses the parameters ${params}`);
    const kind = this.#kinds.get(`${params} ${featureSetId} ${keyMode}`);
    if (kind === undefined || kind.params.scheme !== scheme) {
      throw new PipelineError("FEATURE_SET_UNKNOWN", `the feature set ${featureSetId} is not deployed under these parameters`, {
        keyMode,
        scheme,
      });
    }
    return kind;
  }
}
