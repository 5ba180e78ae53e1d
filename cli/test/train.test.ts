import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { featureCount } from "@smile/features/feature-count";
import { ServedHeads } from "@smile/model-service/served-heads";
import { DeploymentDocument, documentId, HeadDocument } from "@smile/schemas/documents";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../test/support/small-deployment.ts";
import { smile } from "../../test/support/smile-process.ts";

const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));

it("writes documents that parse, fit each other and can be served, the head for its owner's eyes, the same for the same seed", async () => {
  using folder = temporaryFolder();
  const run = (name: string) => smile(["train", "--json", "--out", join(folder.path, name), "--seed", "3", "--key-mode", "symmetric"]);
  const [ended, again] = await Promise.all([run("a"), run("b")]);
  expect(ended.code, ended.stderr).toBe(0);
  const report = JSON.parse(ended.stdout) as Record<string, number | string>;
  const deployment = DeploymentDocument.parse(json(join(folder.path, "a/deployment.json")));
  const head = HeadDocument.parse(json(join(folder.path, "a/head.json")));
  expect(statSync(join(folder.path, "a/head.json")).mode & 0o777).toBe(0o600);
  expect(deployment.keyMode).toBe("symmetric");
  expect(report).toMatchObject({
    deployment: join(folder.path, "a/deployment.json"),
    head: join(folder.path, "a/head.json"),
    featureSetId: documentId(deployment.featureSet),
    headId: documentId(head),
    featureCount: featureCount(deployment.featureSet),
    n: deployment.params.n,
    lanes: deployment.lanes,
    tBits: Math.log2(deployment.params.t),
    qBits: BigInt(deployment.params.q).toString(2).length,
    replyBits: deployment.replies?.bits,
    replyStep: deployment.replies?.step,
  });
  expect(report.replyStep, "scores are exact unless a precision is asked for").toBe(1);
  expect(report.crossValidatedLogLoss).toSatisfy(Number.isFinite);
  expect(deployment.cards.map(({ headId }) => headId)).toEqual([documentId(head)]);
  expect(() => new ServedHeads([{ deployment, heads: [head], modelPrivacy: "compact" }])).not.toThrow();
  // What is public says nothing of the weights.
  expect(Object.keys(deployment)).not.toContain("heads");
  expect(readFileSync(join(folder.path, "a/deployment.json"), "utf8")).not.toContain('"weights"');
  const { featureSetId, headId } = JSON.parse(again.stdout) as Record<string, string>;
  expect({ featureSetId, headId }).toEqual({ featureSetId: report.featureSetId, headId: report.headId });
});

it("rounds scores to the precision that is asked for, in smaller replies, or sends whole ones", async () => {
  using folder = temporaryFolder();
  const run = (name: string, ...options: string[]) =>
    smile(["train", "--json", "--out", join(folder.path, name), "--seed", "3", ...options]);
  const [rounded, whole, wrong, wide] = await Promise.all([
    run("a", "--precision", "0.002"),
    run("b", "--whole-replies"),
    run("c", "--precision", "-1"),
    run("d", "--lanes", "50"),
  ]);
  const report = (text: string) => JSON.parse(text) as Record<string, number>;
  const { qBits, ...sent } = report(whole.stdout);
  expect(sent).toMatchObject({ replyBits: qBits, replyStep: 1 });
  expect(DeploymentDocument.parse(json(join(folder.path, "b/deployment.json")))).not.toHaveProperty("replies");
  const deployment = DeploymentDocument.parse(json(join(folder.path, "a/deployment.json")));
  expect(deployment.cards[0]!.precision).toBe(0.002);
  expect(deployment.replies).toEqual({ bits: report(rounded.stdout).replyBits, step: report(rounded.stdout).replyStep });
  expect(deployment.replies!.step).toBeGreaterThan(1);
  expect(deployment.replies!.bits).toBeLessThanOrEqual(25);
  expect(report(wide.stdout), "the ring has room for as many windows").toMatchObject({ lanes: 64, n: 4096 });
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("--precision") });
});

it("names the option that is missing, and the training file that is", async () => {
  using folder = temporaryFolder();
  const [missing, noData] = await Promise.all([
    smile(["train"]),
    smile(["train", "--out", join(folder.path, "model"), "--replay", folder.path, "--set", "FD004"]),
  ]);
  expect(missing).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("--out") });
  expect(noData).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("train_FD004") });
});
