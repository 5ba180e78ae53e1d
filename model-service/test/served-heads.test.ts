import { PipelineError } from "@smile/errors/pipeline-error";
import { paramsId } from "@smile/he/params";
import { documentId, type Head } from "@smile/schemas/documents";
import type { CiphertextKind } from "@smile/schemas/envelopes";
import { describe, expect, it } from "vitest";
import { PLANT, smallDeployment } from "../../test/support/small-deployment.ts";
import { ServedHeads } from "../src/served-heads.ts";

using small = await smallDeployment({ headCount: 2 });
const { deployment, heads } = small.deployed;
const kind: CiphertextKind = {
  plant: PLANT,
  scheme: "identity",
  keyMode: "public",
  paramsId: paramsId(small.params),
  keyId: small.keys.keyId,
  featureSetId: documentId(deployment.featureSet),
};

/** The deployment with another first head, its card naming it. */
function withHead(change: Partial<Head>) {
  const head: Head = { ...heads[0]!, ...change };
  const cards = deployment.cards.with(0, { ...deployment.cards[0]!, headId: documentId(head) });
  return { ...small.served, deployment: { ...deployment, cards }, heads: [head, heads[1]!] };
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "none";
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return error.code;
  }
}

describe("served heads", () => {
  it("are found by what a batch names, in the order of their cards", () => {
    const served = new ServedHeads([{ ...small.served, heads: heads.toReversed() }]);
    expect(served.find(kind).heads.map(({ headId }) => headId)).toEqual(deployment.cards.map(({ headId }) => headId));
    expect(served.find(kind).lanes).toBe(deployment.lanes);
  });

  it("are refused when one does not fit the parameters: it could decrypt wrongly", () => {
    expect(codeOf(() => new ServedHeads([withHead({})]))).toBe("none");
    const large = heads[0]!.weights.map((row) => row.map((weight) => 1000 * weight));
    // The bound that the document claims is not believed.
    expect(codeOf(() => new ServedHeads([withHead({ weights: large })]))).toBe("PLAN_REFUSED");
    expect(codeOf(() => new ServedHeads([withHead({ bias: [2 ** 40] })]))).toBe("PLAN_REFUSED");
  });

  it("are refused under a model privacy that the parameters do not give", () => {
    expect(codeOf(() => new ServedHeads([{ ...small.served, modelPrivacy: "sanitised" }]))).toBe("PLAN_REFUSED");
  });

  it("send replies as their deployment says, whole ones where it says nothing", () => {
    const { replies, ...whole } = deployment;
    const repliesOf = (changed: typeof whole | typeof deployment) => {
      return new ServedHeads([{ ...small.served, deployment: changed }]).find(kind).heads.map((head) => head.replies);
    };
    expect(replies?.step).toBe(1);
    expect(repliesOf(deployment)).toEqual([replies, replies]);
    expect(repliesOf(whole)).toEqual([undefined, undefined]);
    const wider = { bits: replies!.bits + 1, step: 1 };
    expect(repliesOf({ ...deployment, replies: wider })).toEqual([wider, wider]);
  });

  it("are refused when scores would not be right in as many bits as the deployment says", () => {
    const replies = { ...deployment.replies!, bits: Math.log2(deployment.params.t) + 8 };
    expect(codeOf(() => new ServedHeads([{ ...small.served, deployment: { ...deployment, replies } }]))).toBe("PLAN_REFUSED");
  });

  it("are refused when one is missing, or belongs to another feature set", () => {
    expect(codeOf(() => new ServedHeads([{ ...small.served, heads: [heads[0]!] }]))).toBe("DOCUMENT_INVALID");
    expect(codeOf(() => new ServedHeads([withHead({ featureSetId: "c".repeat(64) })]))).toBe("DOCUMENT_INVALID");
  });

  it("say which part of a batch's kind is unknown", () => {
    const served = new ServedHeads([small.served]);
    expect(codeOf(() => served.find({ ...kind, paramsId: "a".repeat(64) }))).toBe("PARAMS_UNKNOWN");
    expect(codeOf(() => served.find({ ...kind, featureSetId: "a".repeat(64) }))).toBe("FEATURE_SET_UNKNOWN");
    expect(codeOf(() => served.find({ ...kind, keyMode: "symmetric" }))).toBe("FEATURE_SET_UNKNOWN");
  });
});
