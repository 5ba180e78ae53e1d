import { openEvaluator } from "@smile/he/open";
import { paramsId } from "@smile/he/params";
import { prepareHead, scoreBatch } from "@smile/he/scoring";
import { batchCodec, deliveryCodec, frameCodec, scoreCodec } from "@smile/schemas/envelopes";
import { signScore } from "@smile/schemas/signing";
import { mergeToBatch } from "@smile/stream-processor/batch";
import { exact, type Measurement, type SuiteResult } from "../harness/result.ts";
import type { Suite } from "../harness/suite.ts";
import { allLanes, type EncryptedWindows, encryptedWindows, type Shape } from "./encrypted-windows.ts";

const FEATURE_COUNTS = [16, 64, 256, 1024];
const SHAPES: readonly Shape[] = (["symmetric", "public"] as const).flatMap((keyMode) =>
  FEATURE_COUNTS.map((featureCount) => ({ featureCount, keyMode })),
);
const HEADLINE: Shape = { featureCount: 64, keyMode: "symmetric" };
const BYTES_PER_FLOAT = 4;
/**
 * Scores to steps of 256: at most 0.002 of a probability for the head of `npm start`, 0.15 cycles for that of FD001. Exact is the default;
 * a card asks for a precision by name (decision 13).
 */
const ROUNDED_STEP = 256;
/** Gateways that share a ciphertext where frames are merged. */
const GATEWAYS = 8;
const ID_OF_NOTHING = "0".repeat(64);

/** What goes over the wire, as the codecs write it: whole envelopes, signatures and all. MQTT adds 4 bytes and the topic to each. */
export const bytes: Suite = {
  name: "bytes",
  title: "Bytes: up per window and down per score, whole envelopes",
  async run(_rule, say): Promise<SuiteResult> {
    const measurements: Measurement[] = [];
    const up: number[] = [];
    const down: number[] = [];
    const rounded: number[] = [];
    const headline: Record<string, number> = {};
    for (const shape of SHAPES) {
      const name = nameOf(shape);
      say(name);
      using windows = await encryptedWindows(shape, 1);
      const { plan } = windows;
      const raw = BYTES_PER_FLOAT * shape.featureCount;
      const frame = windows.encode(windows.frame(1, allLanes(plan))).length;
      const reply = await deliveredBytes(windows, mergedBatch(windows, 1));
      const upPerWindow = frame / plan.lanes;
      const downPerScore = reply / plan.lanes;
      using rounding = await encryptedWindows({ ...shape, replyStep: ROUNDED_STEP }, 1);
      const downRounded = (await deliveredBytes(rounding, mergedBatch(rounding, 1))) / rounding.plan.lanes;
      rounded.push(downRounded);
      up.push(upPerWindow);
      down.push(downPerScore);
      measurements.push(
        exact(`${name}/up`, "B/window", upPerWindow),
        exact(`${name}/down`, "B/score", downPerScore),
        exact(`${name}/down, scores to steps of ${ROUNDED_STEP}`, "B/score", downRounded),
        exact(`${name}/up against float32`, "times", upPerWindow / raw),
        exact(`${name}/public key`, "B", windows.keys.publicKey.length),
      );
      if (name === nameOf(HEADLINE)) {
        // By what a card may ask for; exact scores, the default, beside it.
        const figures = { upPerWindow, downPerScore: downRounded, downPerScoreExact: downPerScore };
        Object.assign(headline, { ...figures, scoreStep: ROUNDED_STEP, rawPerWindow: raw, lanes: plan.lanes });
      }
      if (shape.keyMode === "symmetric" || plan.lanes < GATEWAYS) continue;
      // Each sends a ciphertext of its own for its share of the lanes; down comes one for all.
      const shared = await deliveredBytes(windows, mergedBatch(windows, GATEWAYS));
      const each = windows.encode(windows.frame(1, sharesOf(plan.lanes, GATEWAYS)[0]!)).length;
      measurements.push(
        exact(`${name}/up, lanes shared by ${GATEWAYS} gateways`, "B/window", (GATEWAYS * each) / plan.lanes),
        exact(`${name}/down, lanes shared by ${GATEWAYS} gateways`, "B/score", shared / plan.lanes),
      );
    }
    return {
      headline,
      measurements,
      calibrationUs: 0,
      charts: [
        {
          title: "Bytes per window, all lanes of a ciphertext in use",
          unit: "B",
          categories: SHAPES.map(nameOf),
          series: [
            { name: "up per window", values: up },
            { name: "down per score", values: down },
            { name: `down per score, to steps of ${ROUNDED_STEP}`, values: rounded },
            { name: "raw float32", values: SHAPES.map(({ featureCount }) => BYTES_PER_FLOAT * featureCount) },
          ],
          stacked: false,
        },
      ],
    };
  },
};

const nameOf = ({ keyMode, featureCount }: Shape) => `${keyMode}/F=${featureCount}`;

/** Lanes dealt out to gateways, each its own run of them. */
function sharesOf(lanes: number, gateways: number): number[][] {
  const share = lanes / gateways;
  return Array.from({ length: gateways }, (_, g) => Array.from({ length: share }, (_, i) => g * share + i));
}

function mergedBatch(windows: EncryptedWindows, gateways: number): Buffer {
  const frames = sharesOf(windows.plan.lanes, gateways).map((lanes, i) => frameCodec.decode(windows.encode(windows.frame(i, lanes))));
  return mergeToBatch(windows.plan.params, frames);
}

/** Bytes of the delivery that brings the scores of a full batch, by a head of one output, to the plant. */
async function deliveredBytes(windows: EncryptedWindows, batchBytes: Buffer): Promise<number> {
  const { params } = windows.plan;
  const { ciphertext, ciphertextHash: _, ...batch } = batchCodec.decode(batchBytes);
  using evaluator = await openEvaluator(params);
  using head = prepareHead(evaluator, windows.head(1));
  using zeros = evaluator.openZeros(windows.keys.publicKey);
  const replies = scoreBatch(evaluator, head, ciphertext, allLanes(windows.plan), zeros);
  const score = scoreCodec.encode(signScore({ ...batch, headId: ID_OF_NOTHING, replies }, windows.signingKey));
  return deliveryCodec.encode({ topicId: paramsId(params).slice(0, 32), partition: 3, from: 1_000_000, offset: 1_000_017, score }).length;
}
