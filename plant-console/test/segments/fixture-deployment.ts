import { type Deployment, documentId } from "@smile/schemas/documents";
import { type SegmentDeployment, SegmentDeploymentDocument } from "@smile/schemas/record-documents";

/** The fixture plant's second head, which has two outputs, deployed as a segment head of two segments. */
export function segmentDeployment({ params, keyMode, lanes, maxMerges, cards }: Deployment): SegmentDeployment {
  const featureSet = {
    kind: "record-feature-set",
    version: 1,
    name: "fixture",
    columns: [{ kind: "numeric", column: "tenure", mean: 5, deviation: 2, weight: 1 }],
    clip: 3,
    quantise: { bits: 5 },
  } as const;
  return SegmentDeploymentDocument.parse({
    kind: "segment-deployment",
    version: 1,
    featureSet,
    params,
    keyMode,
    lanes,
    maxMerges,
    cards: [
      {
        kind: "segment-card",
        version: 1,
        name: "fixture",
        headId: cards[1]!.headId,
        featureSetId: documentId(featureSet),
        segments: [
          { name: "first", words: "" },
          { name: "second", words: "" },
        ],
        training: { data: "fixture", records: 1, metrics: {} },
        codeVersion: "test",
      },
    ],
  });
}
