import { readFileSync } from "node:fs";
import type { IntegerHead, Plan } from "@smile/he/planner";
import { ScoringPool } from "@smile/he/scoring-pool";
import type { Deployment } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { scoringHead } from "../encrypted-loop.ts";

/** What a service knows: no secret key is among it. */
export type Job = {
  readonly plan: Omit<Plan, "params"> & { readonly params: Deployment["params"] };
  readonly head: IntegerHead;
  readonly key: { readonly keyId: string; readonly publicKey: string };
  readonly ciphertext: string;
  readonly lanes: readonly number[];
};

/** Scores one ciphertext over and over, a line of replies each time, until somebody ends this process. */
const { plan, head, key, ciphertext, lanes }: Job = JSON.parse(readFileSync(process.argv[2]!, "utf8"));
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "base64"));
await using pool = new ScoringPool({ threads: 1 });
for (;;) {
  const replies = await pool.score({
    head: scoringHead({ ...plan, params: paramsFromDocument(plan.params) }, head),
    key: { keyId: key.keyId, publicKey: bytes(key.publicKey) },
    ciphertext: bytes(ciphertext),
    lanes,
  });
  process.stdout.write(`${replies.map((reply) => Buffer.from(reply).toString("base64")).join(" ")}\n`);
}
