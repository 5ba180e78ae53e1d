import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deploySegments } from "@smile/model-service/deploy-segments";
import { segmentHead } from "@smile/model-service/training/segments/segment-head";
import { JobStore } from "@smile/plant-console/segments/job-store";
import { peoplePath, writePeopleFile } from "@smile/runtime/people-file";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { smile } from "../../test/support/smile-process.ts";

const folder = mkdtempSync(join(tmpdir(), "smile-hr-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const PASSPHRASE = "nine winter geese";
const JOB = "spring";
const run = (...args: readonly string[]) => smile(["segment", ...args], { cwd: folder, env: { SMILE_PASSPHRASE: PASSPHRASE } });
async function json<T = Record<string, unknown>>(...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await run(...args, "--json");
  if (code !== 0) throw new Error(`smile segment ${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as T;
}
const read = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
const write = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));

/** A job of 45 people in segments of 20, 15 and 10, as the console's service would have stored it. */
async function storeJob(headId: string): Promise<void> {
  using jobs = new JobStore({ path: join(folder, "jobs.db"), plant: "hr" });
  const records = Array.from({ length: 45 }, (_, index) => ({ index, segment: index < 20 ? 0 : index < 35 ? 1 : 2 }));
  const job = { jobId: JOB, headId, gateway: "records", epoch: 1, frameCount: 1, lanes: 64, segments: 3 };
  jobs.store({ ...job, records, revokedRecords: 0 });
  const pseudonyms = records.map(({ index }) => BigInt(index));
  await writePeopleFile(peoplePath(join(folder, "people"), JOB), { jobId: JOB, records: 45 }, pseudonyms);
}

describe("at the HR console", () => {
  beforeAll(async () => {
    const numeric = { kind: "numeric", column: "tenure", mean: 0, deviation: 1, weight: 1 } as const;
    const { deployment } = deploySegments({
      ...{ keyMode: "public", modelPrivacy: "compact", head: segmentHead([[20], [0], [-20]], { bits: 8 }) },
      featureSet: { kind: "record-feature-set", version: 1, name: "t", columns: [numeric], clip: 4, quantise: { bits: 8 } },
      card: {
        name: "survey",
        segments: ["long here", "in between", "new"].map((name) => ({ name, words: `${name}, in words` })),
        ...{ training: { data: "none", records: 50, metrics: {} }, codeVersion: "test" },
      },
    });
    await storeJob(deployment.cards[0]!.headId);
    write("deployment.json", deployment);
    const keys = [
      await json("keys", "--out", "analyst.key", "--name", "A. Analyst"),
      await json("keys", "--out", "council.key", "--name", "Works council"),
    ].map(({ name, publicKey }) => ({ name, publicKey }));
    const files = { keystore: "none", service: "none", register: "none", identity: "0".repeat(64) };
    write("segment-console.json", {
      ...{ plant: "hr", mqtt: { url: "mqtt://127.0.0.1:1" }, deployment: "deployment.json", ...files },
      ...{ audit: "audit.db", store: "jobs.db", people: "people", analysts: [keys[0]], releasers: [keys[1]] },
    });
  });

  it("shows groups after an analyst asked and somebody else released, and tells later who looked", async () => {
    const jobs = await run("jobs");
    expect(jobs.stdout).toMatch(/spring.*45.*1 of 1.*yes.*yes.*no/);
    expect(jobs.stdout).not.toMatch(/\b(20|15|10)\b [a-z]/);
    const asked = await json("request", JOB, "--key", "analyst.key", "--purpose", "where training is missing");
    expect(asked).toMatchObject({ people: 45, groups: 3, withheld: 0, scope: "groups", out: "spring.request.json" });
    await json("release", "spring.request.json", "--key", "council.key", "--yes");
    const shown = await run("report", JOB, "--release", "spring.release.json", "--out", "report");
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining("long here: 20 people; long here, in words") });
    const page = readFileSync(join(folder, "report/report.html"), "utf8");
    for (const word of ["Works council", "A. Analyst", "where training is missing"]) expect(page).toContain(word);
    await json("report", JOB, "--release", "spring.release.json", "--out", "again");
    for (const file of ["report.html", "groups.csv"]) {
      expect(readFileSync(join(folder, "again", file))).toEqual(readFileSync(join(folder, "report", file)));
    }
    const { accesses } = await json<{ accesses: { words: string }[] }>("accesses", JOB);
    expect(accesses.map(({ words }) => words.replace(/^\S+ (?=asked|was)/, "X "))).toEqual([
      "X asked for groups to be shown, for: where training is missing",
      "Works council released it, for: where training is missing",
      ...Array(2).fill("X was shown 3 groups of 45 people; asked by A. Analyst, released by Works council, for: where training is missing"),
    ]);
  });

  it("lets nobody ask with a key that is not pinned, release what they asked for, or release unasked", async () => {
    await json("keys", "--out", "stranger.key", "--name", "S");
    const ask = ["request", JOB, "--purpose", "curiosity", "--out", "other.json"];
    expect(await run(...ask, "--key", "stranger.key")).toMatchObject({ code: 1, stderr: expect.stringContaining("not among `analysts`") });
    await json(...ask, "--key", "analyst.key");
    const own = await run("release", "other.json", "--key", "analyst.key", "--yes");
    expect(own).toMatchObject({ code: 1, stderr: expect.stringContaining("the key that asked may not release") });
    const silent = await run("release", "other.json", "--key", "council.key");
    expect(silent).toMatchObject({ code: 1, stderr: expect.stringContaining("nobody is here to be asked") });
    await json("release", "other.json", "--key", "stranger.key", "--yes");
    const forged = await run("report", JOB, "--release", "other.release.json", "--out", "forged");
    expect(forged).toMatchObject({ code: 1, stderr: expect.stringContaining("not signed by a releaser's key") });
  });

  it("keeps a key sealed, and does not replace one", async () => {
    expect(statSync(join(folder, "council.key")).mode & 0o777).toBe(0o600);
    expect(read("council.key")).toMatchObject({ kind: "sealed", holds: "signing-key" });
    expect(await run("keys", "--out", "council.key", "--name", "B")).toMatchObject({ code: 1, stderr: expect.stringContaining("exists") });
  });

  it("deletes a job when it is told to, and shows nothing of it any more", async () => {
    await json("delete", JOB);
    expect(await json("jobs")).toMatchObject({ jobs: [] });
    const report = await run("report", JOB, "--release", "spring.release.json", "--out", "gone");
    expect(report).toMatchObject({ code: 1, stderr: expect.stringContaining("was deleted with its job") });
    const ask = await run("request", JOB, "--key", "analyst.key", "--purpose", "once more");
    expect(ask).toMatchObject({ code: 1, stderr: expect.stringContaining("JOB_UNKNOWN") });
  });
});
