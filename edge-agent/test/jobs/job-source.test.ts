import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { writeJsonFile } from "@smile/runtime/json-file";
import { peoplePath, readPeopleFile } from "@smile/runtime/people-file";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import type { Job } from "../../src/jobs/job-store.ts";
import { openPseudonymKey, pseudonymOf } from "../../src/jobs/pseudonyms.ts";
import { readSourceSettings } from "../../src/jobs/source-config.ts";
import { refusalOf } from "./job-fixture.ts";
import { audited, mapping, openFixture, type RecordingBroker, recordingBroker, sourceFolder, writePeople } from "./source-fixture.ts";

let broker: RecordingBroker;
beforeAll(async () => {
  broker = await recordingBroker();
});
afterAll(() => broker[Symbol.asyncDispose]());
beforeEach(() => {
  broker.frames.clear();
  broker.deliveries = 0;
  broker.before = () => {};
});
const never = new AbortController().signal;

it("sends a file as a job in the gateway's own block, and keeps whose records they are at home", async () => {
  const folder = sourceFolder(broker.url);
  await using opened = openFixture(folder);
  const job = await opened.source.runNew(folder.data, { signal: never });
  expect(job).toMatchObject({ state: "done", records: 60, frameCount: 20, acknowledged: 20, unknown: 20, missing: 0 });
  expect(broker.frames.size).toBe(20);
  for (const frame of broker.frames.values()) expect(frame).toMatchObject({ block: 2, jobId: job.jobId, keyId: folder.keyId });
  const path = peoplePath(folder.at("people"), job.jobId);
  const key = openPseudonymKey(folder.at("pseudonym-key.json"));
  expect([...readPeopleFile(path).pseudonyms]).toEqual(Array.from({ length: 60 }, (_, i) => pseudonymOf(key, `p${i}`)));
  expect(statSync(folder.at("pseudonym-key.json")).mode & 0o777).toBe(0o600);
  const { jobId, fileHash } = job;
  expect(audited(folder)).toMatchObject([
    { action: "job-started", facts: { jobId, fileHash, records: 60, features: 3 } },
    { action: "job-ended", facts: { jobId, fileHash, records: 60, features: 3, state: "done", acknowledged: 20 } },
  ]);
});

it("gives a person the same pseudonym in every job, and tells nobody by an identifier alone", async () => {
  const folder = sourceFolder(broker.url, { people: 12 });
  await using opened = openFixture(folder);
  const [first, second] = [
    await opened.source.runNew(folder.data, { signal: never }),
    await opened.source.runNew(folder.data, { signal: never }),
  ];
  const people = ({ jobId }: Job) => readPeopleFile(peoplePath(folder.at("people"), jobId)).pseudonyms;
  expect(people(first)).toEqual(people(second));
  expect(pseudonymOf(openPseudonymKey(sourceFolder(broker.url).at("other.json")), "p0")).not.toBe(people(first)[0]);
});

it("writes the permission of a sensitive column and its reason into the audit log before the first frame", async () => {
  const folder = sourceFolder(broker.url);
  const sensitive = { ...mapping, permissions: [{ column: "tenure", reason: "agreed with the works council" }] };
  writeJsonFile(folder.at("mapping.json"), sensitive);
  let atFirst: unknown;
  broker.before = () => {
    atFirst ??= audited(folder).map(({ action }) => action);
  };
  await using opened = openFixture(folder);
  await opened.source.runNew(folder.data, { signal: never });
  expect(atFirst).toEqual(["column-permitted", "job-started"]);
  expect(audited(folder)[0]!.facts).toMatchObject({ column: "tenure", kind: "declared", reason: "agreed with the works council" });
});

it("refuses, before anything is sent or kept, a deployment that asks for more than the mapping gives, and files that are no people's", async () => {
  const folder = sourceFolder(broker.url);
  const lines = readFileSync(folder.data, "utf8").split("\n");
  const cases = [
    ["MAPPING_INVALID", () => writeJsonFile(folder.at("mapping.json"), { ...mapping, columns: [mapping.columns[0]!], ignored: ["site"] })],
    ["MAPPING_INVALID", () => writeFileSync(folder.data, lines.with(5, "p1,3,north").join("\n"))],
    ["MAPPING_INVALID", () => writeFileSync(folder.data, lines.with(5, ",3,north").join("\n"))],
    [
      "IDENTIFIER_AS_FEATURE",
      () => writeFileSync(folder.data, lines.map((line, i) => (i === 0 ? line : line.replace(/,\d+,/, `,${100_000 + i},`))).join("\n")),
    ],
    ["RECORDS_TOO_FEW", () => writePeople(folder.data, 9)],
  ] as const;
  for (const [code, change] of cases) {
    writeJsonFile(folder.at("mapping.json"), mapping);
    writePeople(folder.data, 60);
    change();
    await using opened = openFixture(folder);
    expect((await refusalOf(opened.source.runNew(folder.data, { signal: never }))).code).toBe(code);
    expect(opened.source.jobs()).toEqual([]);
  }
  expect(broker.deliveries).toBe(0);
  expect([existsSync(folder.at("people")), audited(folder)]).toEqual([false, []]);
});

it("goes on with a job that was stopped under the same frame ids, and refuses to with another file", async () => {
  const folder = sourceFolder(broker.url);
  const stop = new AbortController();
  broker.before = (sequence) => {
    if (sequence === 7) stop.abort();
  };
  await using opened = openFixture(folder);
  const stopped = await opened.source.runNew(folder.data, { signal: stop.signal });
  expect(stopped.state).toBe("running");
  writePeople(folder.data, 59);
  const changed = await refusalOf(opened.source.goOn(stopped.jobId, folder.data, { signal: never }));
  expect(changed).toMatchObject({ code: "JOB_CHANGED", facts: { field: "fileHash" } });
  writePeople(folder.data, 60);
  expect(await opened.source.goOn(stopped.jobId, folder.data, { signal: never })).toMatchObject({ state: "done", unknown: 20 });
  expect(broker.frames.size).toBe(20);
  expect(new Set([...broker.frames.values()].map(({ epoch }) => epoch))).toEqual(new Set([stopped.epoch]));
});

it("keeps nothing of a job that is stopped while its file is still being read", async () => {
  const folder = sourceFolder(broker.url);
  await using opened = openFixture(folder);
  const stop = new AbortController();
  const stopped = opened.source.runNew(folder.data, { signal: stop.signal });
  stop.abort();
  await expect(stopped).rejects.toBe(stop.signal.reason);
  expect([opened.source.jobs(), existsSync(folder.at("people")), audited(folder)]).toEqual([[], false, []]);
});

it("is paused and resumed by whoever else has the source open, while one sends at a time", async () => {
  const folder = sourceFolder(broker.url);
  await using opened = openFixture(folder);
  await using other = openFixture(folder);
  let jobId = "";
  let busy: Promise<string> | undefined;
  broker.before = async (sequence) => {
    if (sequence !== 4) return;
    busy ??= refusalOf(other.source.runNew(folder.data, { signal: never })).then(({ code }) => code);
    await busy;
    other.source.pause(jobId);
  };
  const onProgress = (job: Job) => {
    jobId = job.jobId;
  };
  const paused = await opened.source.runNew(folder.data, { signal: never, onProgress });
  expect([paused.state, await busy]).toEqual(["paused", "JOB_BUSY"]);
  expect(paused.acknowledged).toBeLessThan(20);
  broker.before = () => {};
  expect(other.source.resume(jobId).state).toBe("running");
  expect((await other.source.goOn(jobId, folder.data, { signal: never })).state).toBe("done");
});

it("sends nothing more of a job that is cancelled, and forgets whose records it has", async () => {
  const folder = sourceFolder(broker.url);
  await using opened = openFixture(folder);
  await using other = openFixture(folder);
  let jobId = "";
  broker.before = (sequence) => {
    if (sequence === 4) other.source.cancel(jobId);
  };
  const onProgress = (job: Job) => {
    jobId ||= job.jobId;
  };
  const job = await opened.source.runNew(folder.data, { signal: never, onProgress });
  expect(job.state).toBe("cancelled");
  expect(existsSync(peoplePath(folder.at("people"), jobId))).toBe(false);
  expect(audited(folder).map(({ action, facts }) => [action, facts.state])).toEqual([
    ["job-started", undefined],
    ["job-ended", "cancelled"],
  ]);
  expect((await refusalOf(opened.source.goOn(jobId, folder.data, { signal: never }))).code).toBe("JOB_ENDED");
});

it("begins nothing under a key that is out of force, and stops a job whose key goes out of force on its way", async () => {
  const folder = sourceFolder(broker.url);
  await using opened = openFixture(folder);
  broker.before = async (sequence) => {
    if (sequence !== 5) return;
    folder.revokeKey();
    // The broker says nothing more until the job has ended: the watch alone must end it.
    await ended;
  };
  const ended = refusalOf(opened.source.runNew(folder.data, { signal: never }));
  expect(await ended).toMatchObject({ code: "JOB_CHANGED", facts: { field: "keyId" } });
  broker.before = () => {};
  expect(opened.source.jobs()).toMatchObject([{ state: "running" }]);
  const { jobId } = opened.source.jobs()[0]!;
  expect((await refusalOf(opened.source.goOn(jobId, folder.data, { signal: never }))).code).toBe("KEY_MISMATCH");
  expect((await refusalOf(opened.source.runNew(folder.data, { signal: never }))).code).toBe("KEY_MISMATCH");
});

it("needs the lanes of a whole ciphertext, and a deployment for records", async () => {
  const folder = sourceFolder(broker.url, { changes: { gateway: "machines" } });
  await using opened = openFixture(folder);
  expect((await refusalOf(opened.source.runNew(folder.data, { signal: never }))).code).toBe("KEY_MISMATCH");
  writeJsonFile(folder.config, { ...JSON.parse(readFileSync(folder.config, "utf8")), identity: undefined });
  expect(() => readSourceSettings(folder.config, {})).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});
