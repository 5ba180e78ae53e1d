import { PipelineError } from "@smile/errors/pipeline-error";
import { featureCount } from "@smile/features/feature-count";
import { type Params, paramsId } from "@smile/he/params";
import { assess, type ModelPrivacy } from "@smile/he/planner";
import type { ScoringHead } from "@smile/he/scoring";
import { documentId, type Head } from "@smile/schemas/documents";
import type { CiphertextKind } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { AnyDeployment } from "@smile/schemas/record-documents";

/** A deployment together with what only the model service holds: the heads behind its cards. */
export type ServedDeployment = { readonly deployment: AnyDeployment; readonly heads: readonly Head[]; readonly modelPrivacy: ModelPrivacy };

/** A feature set under its parameters, and the heads that score it. */
export type Served = { readonly params: Params; readonly lanes: number; readonly heads: readonly ScoringHead[] };

/** The heads that a service scores with, found by what a batch names. */
export class ServedHeads {
  readonly #params = new Set<string>();
  readonly #served = new Map<string, Served>();
  /** Frames in a batch at most, of any deployment; 0 without any. */
  readonly maxMerges: number;

  /**
   * @throws {PipelineError} PLAN_REFUSED when a head does not fit its deployment's parameters, DOCUMENT_INVALID when one is missing or
   *   belongs elsewhere
   */
  constructor(deployments: readonly ServedDeployment[]) {
    this.maxMerges = Math.max(0, ...deployments.map(({ deployment }) => deployment.maxMerges));
    for (const { deployment, heads, modelPrivacy } of deployments) {
      const params = paramsFromDocument(deployment.params);
      const featureSetId = documentId(deployment.featureSet);
      const byId = new Map(heads.map((head) => [documentId(head), head]));
      const bound = deployment.cards.map((card) => {
        const head = byId.get(card.headId);
        if (head === undefined)
          throw new PipelineError("DOCUMENT_INVALID", `the head ${card.headId} of the card "${card.name}" is missing`);
        if (head.featureSetId !== featureSetId)
          throw new PipelineError("DOCUMENT_INVALID", `the head of the card "${card.name}" belongs to another feature set`);
        return head;
      });
      const width = featureCount(deployment.featureSet);
      const { floodBits, lanes } = assess(
        {
          featureCount: width,
          featureBits: deployment.featureSet.quantise.bits,
          heads: bound,
          keyMode: deployment.keyMode,
          maxMerges: deployment.maxMerges,
          modelPrivacy,
        },
        params,
        deployment.replies,
      );
      this.#params.add(paramsId(params));
      this.#served.set(key(paramsId(params), featureSetId, deployment.keyMode), {
        params,
        lanes,
        heads: bound.map(({ weights, bias }, i) => ({
          headId: deployment.cards[i]!.headId,
          params,
          keyMode: deployment.keyMode,
          featureCount: width,
          floodBits,
          replies: deployment.replies,
          weights: weights.map((output) => Int32Array.from(output)),
          bias,
        })),
      });
    }
  }

  /** @throws {PipelineError} PARAMS_UNKNOWN, FEATURE_SET_UNKNOWN */
  find({ paramsId: params, featureSetId, keyMode }: CiphertextKind): Served {
    if (!this.#params.has(params)) throw new PipelineError("PARAMS_UNKNOWN", `no deployment uses the parameters ${params}`);
    const served = this.#served.get(key(params, featureSetId, keyMode));
    if (served === undefined)
      throw new PipelineError("FEATURE_SET_UNKNOWN", `the feature set ${featureSetId} is not deployed under these parameters`, { keyMode });
    return served;
  }
}

const key = (params: string, featureSetId: string, keyMode: string) => `${params} ${featureSetId} ${keyMode}`;
