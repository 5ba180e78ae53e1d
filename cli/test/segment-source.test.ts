import { createWriteStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { readAudit } from "@smile/runtime/audit-log";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { writeJsonFile } from "@smile/runtime/json-file";
import { silentLogger } from "@smile/runtime/logging";
import { peoplePath, readPeopleFile } from "@smile/runtime/people-file";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { frameCodec } from "@smile/schemas/envelopes";
import { openRegister } from "@smile/schemas/plant-register";
import { SegmentDeploymentDocument, SegmentProfilesDocument } from "@smile/schemas/record-documents";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { workforceCsv } from "@smile/simulators/workforce/workforce-csv";
import { workforceMapping } from "@smile/simulators/workforce/workforce-mapping";
import { startStreamProcessor } from "@smile/stream-processor/service";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { env, type RecordingBroker, recordingBroker, sourceFolder, writePeople } from "../../edge-agent/test/jobs/source-fixture.ts";
import { collect } from "../../test/support/collect.ts";
import { smile, startSmile } from "../../test/support/smile-process.ts";

const lastLine = (text: string) => JSON.parse(text.trimEnd().split("\n").at(-1)!);

describe("a source of records", () => {
  let broker: RecordingBroker;
  beforeAll(async () => {
    broker = await recordingBroker();
  });
  afterAll(() => broker[Symbol.asyncDispose]());
  beforeEach(() => {
    broker.frames.clear();
    broker.before = () => {};
  });
  const segment = (...args: readonly string[]) => smile(["segment", ...args, "--json"], { env });
  const idOf = (line: string) => /job ([\w-]+)$/.exec(line)![1]!;
  /** Resolves when a frame has come that the broker now holds on to; `release` lets it and all others through. */
  function holdFrom(sequence: number) {
    const [held, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    broker.before = async (each) => {
      if (each < sequence) return;
      held.resolve();
      await gate.promise;
    };
    return { held: held.promise, release: gate.resolve };
  }

  it("goes on after SIGKILL in mid-job under the same frame ids, and every frame is acknowledged once", async () => {
    const { config, data } = sourceFolder(broker.url);
    const run = ["run", "--config", config, "--data", data];
    const { held, release } = holdFrom(10);
    let jobId: string;
    {
      await using killed = startSmile(["segment", ...run], { env });
      jobId = idOf(await killed.line(/^job /));
      await held;
      expect((await killed.stop("SIGKILL")).signal).toBe("SIGKILL");
    }
    release();
    const { jobs } = lastLine((await segment("status", jobId, "--config", config)).stdout);
    expect(jobs).toMatchObject([{ jobId, state: "running", records: 60, frames: 20 }]);
    expect(jobs[0].acknowledged).toBeLessThanOrEqual(10);
    const { code, stdout } = await segment(...run, "--job", jobId);
    expect([code, lastLine(stdout)]).toMatchObject([0, { jobId, state: "done", acknowledged: 20, percent: 100, missing: 0, unknown: 20 }]);
    expect([...broker.frames.values()].map(({ sequence }) => sequence).toSorted((a, b) => a - b)).toEqual([...Array(20).keys()]);
    expect(new Set([...broker.frames.values()].map(({ epoch }) => epoch)).size).toBe(1);
  });

  it("is paused, looked at, resumed and cancelled by commands beside the process that sends", async () => {
    const { config, data, at } = sourceFolder(broker.url);
    const run = ["run", "--config", config, "--data", data];
    const { held, release } = holdFrom(6);
    let jobId: string;
    {
      await using running = startSmile(["segment", ...run], { env });
      jobId = idOf(await running.line(/^job /));
      await held;
      const busy = await segment(...run);
      expect([busy.code, busy.stderr]).toEqual([1, expect.stringContaining("JOB_BUSY")]);
      expect(lastLine((await segment("pause", jobId, "--config", config)).stdout).state).toBe("paused");
      release();
      const { code, stdout } = await running.ended;
      expect([code, stdout]).toEqual([1, expect.stringContaining(`smile segment resume ${jobId}`)]);
    }
    const text = (await smile(["segment", "status", "--config", config], { env })).stdout;
    expect(text).toMatch(new RegExp(`^${jobId}  paused, \\d+ %: \\d+ of 20 frames of 60 records`));
    expect(lastLine((await segment("resume", jobId, "--config", config)).stdout).state).toBe("running");
    expect(lastLine((await segment("cancel", jobId, "--config", config)).stdout).state).toBe("cancelled");
    const ended = await segment(...run, "--job", jobId);
    expect([ended.code, ended.stderr]).toEqual([1, expect.stringContaining("JOB_ENDED")]);
    expect(() => readPeopleFile(peoplePath(at("people"), jobId))).toThrow(expect.objectContaining({ code: "FILE_MISSING" }));
  });

  it("on a schedule first goes on with what a crash left, then begins, and leaves an audit log", async () => {
    const { config, data, at } = sourceFolder(broker.url);
    const { held, release } = holdFrom(3);
    let left: string;
    {
      await using killed = startSmile(["segment", "run", "--config", config, "--data", data], { env });
      left = idOf(await killed.line(/^job /));
      await held;
      await killed.stop("SIGKILL");
    }
    release();
    await using schedule = startSmile(["segment", "schedule", "--config", config, "--data", data, "--cron", "0 6 * * 1", "--once-now"], {
      env,
    });
    await schedule.line(new RegExp(`"${left}".*a job rests|a job rests.*"${left}"`));
    await schedule.line(new RegExp(`"jobId":"(?!${left})[^"]+".*"state":"done".*a job rests`));
    expect((await schedule.stop("SIGTERM")).code).toBe(0);
    const entries = [...readAudit(at("audit.db"))].map(({ action, facts }) => `${action} ${facts.jobId === left ? "left" : "new"}`);
    expect(entries).toEqual(["job-started left", "job-ended left", "job-started new", "job-ended new"]);
    expect(broker.frames.size).toBe(40);
  });

  it("refuses a schedule that is none, a job of another file, and options that do not go together", async () => {
    const { config, data } = sourceFolder(broker.url);
    const cron = await smile(["segment", "schedule", "--config", config, "--data", data, "--cron", "mondays"], { env });
    expect([cron.code, cron.stderr]).toEqual([78, expect.stringContaining("cron")]);
    const { held, release } = holdFrom(3);
    let jobId: string;
    {
      await using killed = startSmile(["segment", "run", "--config", config, "--data", data], { env });
      jobId = idOf(await killed.line(/^job /));
      await held;
      await killed.stop("SIGKILL");
    }
    release();
    writePeople(data, 61);
    const changed = await segment("run", "--config", config, "--data", data, "--job", jobId);
    expect([changed.code, changed.stderr]).toEqual([1, expect.stringContaining("JOB_CHANGED")]);
    for (const wrong of [
      ["--config", config, "--minimum", "20"],
      ["--job", jobId],
      ["--config", config, "--job", "../x"],
    ]) {
      expect((await segment("run", "--data", data, ...wrong)).code).toBe(1);
    }
  });
});

describe("a model of one's own", () => {
  const folder = mkdtempSync(join(tmpdir(), "smile-segment-model-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string) => join(folder, name);
  const read = (...path: string[]) => JSON.parse(readFileSync(file(join(...path)), "utf8"));
  const passphrase = { SMILE_PASSPHRASE_FILE: file("passphrase"), SMILE_PASSPHRASE: "" };
  const segment = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await smile([...args, "--json"], { cwd: folder, env: passphrase });
    if (code !== 0) throw new Error(stderr);
    return lastLine(stdout);
  };
  const own = ["--data", "workforce.csv", "--features", "mapping.json"];
  beforeAll(async () => {
    await pipeline(workforceCsv({ seed: 5, employees: 900 }), createWriteStream(file("workforce.csv")));
    writeJsonFile(file("mapping.json"), workforceMapping);
    writeFileSync(file("passphrase"), "nine winter geese\n", { mode: 0o600 });
    await segment("segment", "train", ...own, "--segments", "6", "--out", "model");
  });

  it("is written as what is public, what the model service needs, and what stays at home", () => {
    const deployment = SegmentDeploymentDocument.parse(read("model", "deployment.json"));
    const profiles = SegmentProfilesDocument.parse(read("model", "profiles.json"));
    const { headId, segments } = deployment.cards[0]!;
    expect(profiles.headId).toBe(headId);
    expect(profiles.segments.map(({ name, words }) => ({ name, words }))).toEqual(segments);
    expect(read("model", "model-service.json")).toEqual({ deployment: "deployment.json", heads: ["head.json"], modelPrivacy: "compact" });
    for (const name of ["head.json", "profiles.json"]) expect(statSync(file(join("model", name))).mode & 0o777).toBe(0o600);
    expect(JSON.stringify(deployment)).not.toMatch(/centroid|"sizes"/);
  });

  it("segments a file without training anew, exactly as its integer head does", async () => {
    const report = await segment("segment", "run", ...own, "--model", "model");
    expect(report).toMatchObject({ records: 900, missing: 0, duplicated: 0, mismatches: 0 });
    expect(report.adjustedRandIndex).toBeGreaterThanOrEqual(0.98);
    expect(report.segments).toHaveLength(6);
  });

  it("has fewer segments than were asked for, and says so, before one would have fewer than ten people", async () => {
    await pipeline(workforceCsv({ seed: 5, employees: 60 }), createWriteStream(file("few.csv")));
    const few = ["--data", "few.csv", "--features", "mapping.json"];
    const report = await segment("segment", "train", ...few, "--segments", "12", "--out", "few");
    expect(report.segments).toBeLessThan(6);
    expect(report.explanation).toContain(`${report.segments} segments instead of 12`);
    const auto = await segment("segment", "train", ...own, "--segments", "auto", "--out", "auto");
    expect(auto.explanation).toMatch(/^\d segments \(silhouette/);
  });

  it("goes with `plant init` and `add-gateway --records` to a source whose frames a service takes", async () => {
    const init = await segment(..."plant init --plant hr --deployment model/deployment.json --out hr --without-tls".split(" "));
    expect(init.next).toContain("`smile plant add-gateway records --records --plant-folder hr`");
    await segment(..."plant add-gateway machines --records --plant-folder hr".split(" "));
    const identityHash = read("hr/gateways/machines/segment-source.json").identity;
    const added = await segment(..."plant add-gateway people --records --plant-folder hr".split(" "));
    writeJsonFile(file("hr/gateways/people/mapping.json"), workforceMapping);
    const logger = silentLogger();
    await using log = await openTemporaryLog({ logger });
    const deployment = SegmentDeploymentDocument.parse(read("model", "deployment.json"));
    const listen = { host: "127.0.0.1", port: 0 };
    await using processor = await startStreamProcessor({
      ...{ log, logger, partitions: 1, deployments: [deployment], frames: listen, scores: listen },
      plants: new FixedRegistry([openRegister(read("hr/register.json"), identityHash, "register")]),
      limits: { lingerMs: 20, openPerKind: 4 },
    });
    const config = "hr/gateways/people/segment-source.json";
    const { code, stdout, stderr } = await smile(["segment", "run", "--data", "workforce.csv", "--config", config, "--json"], {
      cwd: folder,
      env: { SMILE_MQTT_URL: processor.framesUrl },
    });
    expect([code, stderr]).toEqual([0, expect.stringContaining("job ")]);
    const job = lastLine(stdout);
    expect(job).toMatchObject({ state: "done", records: 900, frames: Math.ceil(900 / added.lanes), percent: 100 });
    const taken = await collect(log, LOG_TOPICS.jobFrames, (records) => records.length >= job.frames);
    const frames = taken.map(({ value }) => frameCodec.decode(value));
    for (const frame of frames) expect(frame).toMatchObject({ gateway: "people", block: 1, jobId: job.jobId, frameCount: job.frames });
    expect(readPeopleFile(peoplePath(file("hr/gateways/people/people"), job.jobId)).pseudonyms).toHaveLength(900);
  });
});
