import { cpSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { readCsvRecords } from "@smile/edge-agent/jobs/csv-records";
import { JobStore as SourceStore } from "@smile/edge-agent/jobs/job-store";
import { RecordEncoder } from "@smile/features/records/record-encoder";
import { residueBits } from "@smile/he/params";
import { adjustedRandIndex } from "@smile/model-service/training/segments/adjusted-rand-index";
import { integerSegment } from "@smile/model-service/training/segments/segment-head";
import { JobStore as ConsoleStore } from "@smile/plant-console/segments/job-store";
import { peoplePath, readPeopleFile } from "@smile/runtime/people-file";
import { HeadDocument } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { SegmentDeploymentDocument } from "@smile/schemas/record-documents";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { SentinelSearch } from "./operator-view/search.ts";
import type { Sentinel } from "./operator-view/sentinel.ts";
import { ByteGate } from "./support/byte-gate.ts";
import { freePort } from "./support/free-port.ts";
import { temporaryFolder } from "./support/small-deployment.ts";
import { type Ended, ROOT, type SmileProcess, startShell } from "./support/smile-process.ts";

/** The commands of examples/people/README.md, by the name of their blocks. */
const EXAMPLE = join(ROOT, "examples/people");
const blocks = new Map<string, string[]>();
for (const [, name, text] of readFileSync(join(EXAMPLE, "README.md"), "utf8").matchAll(/^```sh (\w+)\n(.*?)^```/gms))
  blocks.set(name!, [...(blocks.get(name!) ?? []), ...text!.trim().replaceAll("npx smile", "smile").split("\n")]);

/** What each service says once it takes work. */
const STARTED = {
  "stream-processor": /stream processor started/,
  "model-service": /model service started/,
  "segment console": /segment console started/,
};
type ServiceName = keyof typeof STARTED;
const services = Object.keys(STARTED) as ServiceName[];

const CONSOLE = "hr/console/segment-console.json";
const SOURCE = "hr/gateways/records/segment-source.json";
const PEOPLE = 4000;

type Frames = { readonly frames: number; readonly frameCount: number };

/** A copy of the example in a folder of its own, on ports that are free. What its source sends passes a gate. */
class Organisation implements AsyncDisposable {
  readonly folder: string;
  readonly gate: ByteGate;
  readonly #jobBytes: number;
  readonly #opened: AsyncDisposableStack;
  readonly #services = new Map<ServiceName, SmileProcess>();

  private constructor(opened: AsyncDisposableStack, folder: string, gate: ByteGate) {
    this.folder = folder;
    this.gate = gate;
    this.#opened = opened;
    const { lanes, params } = SegmentDeploymentDocument.parse(JSON.parse(readFileSync(join(folder, "model/deployment.json"), "utf8")));
    const he = paramsFromDocument(params);
    // Two polynomials in each frame; what else is in it makes a share of these bytes a smaller share of the job.
    this.#jobBytes = (Math.ceil(PEOPLE / lanes) * 2 * he.n * residueBits(he)) / 8;
  }

  static async open(template: string): Promise<Organisation> {
    await using opened = new AsyncDisposableStack();
    const { path } = opened.use(temporaryFolder());
    cpSync(template, path, { recursive: true });
    const [frames, scores] = [await freePort(), await freePort()];
    const gate = opened.use(await ByteGate.open(frames));
    const replace = (file: string, ports: Readonly<Record<string, number>>) => {
      const at = join(path, file);
      writeFileSync(
        at,
        readFileSync(at, "utf8").replace(/\b888[34]\b/g, (port) => String(ports[port])),
      );
    };
    replace("service/stream-processor.json", { 8883: frames, 8884: scores });
    replace(CONSOLE, { 8884: scores });
    replace(SOURCE, { 8883: gate.port });
    return new Organisation(opened.move(), path, gate);
  }

  async start(...names: readonly ServiceName[]): Promise<void> {
    await Promise.all(
      names.map(async (name) => {
        const command = blocks.get("services")!.find((line) => line.startsWith(`smile ${name} `))!;
        const running = this.#opened.use(startShell(`exec ${command}`, { cwd: this.folder }));
        this.#services.set(name, running);
        await running.line(STARTED[name]);
      }),
    );
  }

  async kill(name: ServiceName): Promise<void> {
    expect(await this.#services.get(name)!.stop("SIGKILL")).toMatchObject({ signal: "SIGKILL" });
  }

  /** @returns what they wrote */
  async stopAll(): Promise<Ended[]> {
    const ends = await Promise.all(services.map((name) => this.#services.get(name)!.stop("SIGTERM")));
    for (const { code, stderr } of ends) expect(code, stderr).toBe(0);
    return ends;
  }

  /** Lets at most this share more of a job's frames through. */
  allow(share: number): void {
    this.gate.allow(Math.floor(share * this.#jobBytes));
  }

  /** Runs a line in the folder, to its end. */
  command(line: string): Promise<Ended> {
    return startShell(line, { cwd: this.folder }).ended;
  }

  /** Runs a block of the README. */
  async run(block: string): Promise<string> {
    const { code, stdout, stderr } = await this.command(blocks.get(block)!.join(" && "));
    expect(code, stderr).toBe(0);
    return stdout;
  }

  /** The source sends the file, as in the README, or goes on with a job. */
  send(jobId?: string): SmileProcess {
    const goOn = jobId === undefined ? "" : ` --job ${jobId}`;
    return this.#opened.use(startShell(`exec ${blocks.get("run")![0]}${goOn}`, { cwd: this.folder }));
  }

  /** The last line of a command on the source's jobs. */
  async source(command: string): Promise<Record<string, unknown>> {
    const { code, stdout, stderr } = await this.command(`smile segment ${command} --config ${SOURCE} --json`);
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
  }

  /** What the source knows to be acknowledged. */
  acknowledged(jobId: string): Frames {
    using jobs = new SourceStore(join(this.folder, "hr/gateways/records/jobs.db"));
    const { acknowledged, frameCount } = jobs.job(jobId);
    return { frames: acknowledged, frameCount };
  }

  /** Looks into the console's store. */
  atConsole<T>(look: (jobs: ConsoleStore) => T): T {
    using jobs = new ConsoleStore({ path: join(this.folder, "hr/console/segment-console.db"), plant: "hr" });
    return look(jobs);
  }

  /** Leaves the log as a crash would that came after the scores were written and before their batches were settled: all are scored again. */
  unsettle(): void {
    using log = new DatabaseSync(join(this.folder, "service/log.db"), { timeout: 30_000 });
    expect(log.prepare("DELETE FROM commits WHERE group_name = 'smile-model-service-jobs'").run().changes).toBeGreaterThan(0);
  }

  /** Resolves once the console holds this share of a job's frames. */
  async stored(jobId: string, headId: string, share: number): Promise<Frames> {
    const state = () => this.atConsole((jobs) => jobs.state({ jobId, headId }));
    return await vi.waitUntil(
      () => {
        const now = state();
        return now !== undefined && now.frames >= share * now.frameCount && now;
      },
      { timeout: 60_000, interval: 20 },
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}

const idOf = (line: string) => /job ([\w-]+)$/.exec(line)![1]!;

describe("examples/people, as processes of their own", () => {
  const template = temporaryFolder();
  afterAll(() => template[Symbol.dispose]());
  const read = (file: string): unknown => JSON.parse(readFileSync(join(template.path, file), "utf8"));
  let headId: string;
  /** By the integer head in plaintext, computed without any service; and what each person was made from. */
  let expected: number[];
  let planted: number[];
  let identifiers: string[];

  beforeAll(async () => {
    cpSync(EXAMPLE, template.path, { recursive: true, filter: (path) => path === EXAMPLE || /\.(md|json)$/.test(path) });
    const { code, stderr } = await startShell(blocks.get("prepare")!.join(" && "), { cwd: template.path }).ended;
    expect(code, stderr).toBe(0);
    const { featureSet, cards } = SegmentDeploymentDocument.parse(read("model/deployment.json"));
    headId = cards[0]!.headId;
    const head = HeadDocument.parse(read("model/head.json"));
    const encoder = new RecordEncoder(featureSet);
    const records = await Array.fromAsync(readCsvRecords(join(template.path, "people.csv")));
    expect(records).toHaveLength(PEOPLE);
    expected = records.map((record) => {
      const features = new Int32Array(encoder.width);
      encoder.encode(record, features);
      return integerSegment(head, features);
    });
    planted = records.map(({ planted_segment }) => Number(planted_segment));
    identifiers = records.map(({ employee_id }) => employee_id!);
  }, 60_000);

  /** Waits for the whole job, and compares it with the integer head. */
  async function compare(organisation: Organisation, jobId: string): Promise<void> {
    await organisation.stored(jobId, headId, 1);
    const name = { jobId, headId };
    organisation.atConsole((jobs) => {
      expect(jobs.list()).toContainEqual(name);
      expect(jobs.missing(name)).toEqual([]);
      expect(jobs.state(name)).toMatchObject({ records: PEOPLE, contradictions: 0 });
      const assignments = [...jobs.assignments(name)];
      expect(assignments.map(({ index }) => index)).toEqual([...Array(PEOPLE).keys()]);
      expect(assignments.map(({ segment }) => segment)).toEqual(expected);
    });
  }

  it("shows groups by the commands of its README: everybody answered once, as in plaintext and as planted, and nobody is at the operator", async () => {
    await using organisation = await Organisation.open(template.path);
    const { folder, gate } = organisation;
    gate.allow(Number.POSITIVE_INFINITY);
    await organisation.start(...services);
    expect(await organisation.run("run")).toMatch(/done, 100 %: 96 of 96 frames of 4000 records/);
    const { jobs } = (await organisation.source("status")) as { jobs: { jobId: string }[] };
    const { jobId } = jobs[0]!;
    await compare(organisation, jobId);
    expect(adjustedRandIndex(expected, planted)).toBeGreaterThanOrEqual(0.95);

    expect(await organisation.run("ask")).toMatch(/│ 4000 +│ 96 of 96 +│ yes +│ yes +│ no +│.*6 groups of at least 10 people/s);
    await organisation.run("release");
    const shown = await organisation.run("show");
    expect(shown).toMatch(/was shown 6 groups of 4000 people; asked by A\. Analyst, released by Works council/);
    expect(shown).toMatch(/^sound {3}hr\/audit\.db: .*\nsound {3}service\/audit\.db: /m);
    const groups = readFileSync(join(folder, "report/groups.csv"), "utf8").trimEnd().split("\r\n").slice(1);
    const sizes = groups.map((line) => Number(line.split(",")[1]));
    const countOf = (segment: number) => expected.filter((each) => each === segment).length;
    expect(sizes).toEqual([...Array(6).keys()].map(countOf));

    const written = await organisation.stopAll();
    const { pseudonyms } = readPeopleFile(peoplePath(join(folder, "hr/gateways/records/people"), jobId));
    const search = new SentinelSearch([...identifiers.map(identifierSentinel), ...Array.from(pseudonyms).flatMap(pseudonymSentinels)]);
    const artefact = (file: string) => ({ name: file, bytes: readFileSync(join(folder, file)) });
    const operators = globSync("service/**/*", { cwd: folder, withFileTypes: true }).filter((entry) => entry.isFile());
    const files = operators.map((entry) => artefact(join(entry.parentPath, entry.name).slice(folder.length + 1)));
    expect(files.map(({ name }) => basename(name))).toContain("log.db");
    const spoken = written.slice(0, 2).map(({ stdout, stderr }, i) => ({ name: services[i]!, bytes: Buffer.from(stdout + stderr) }));
    expect(search.search([...files, ...spoken])).toEqual([]);
    // The same search finds all of them where they are.
    const own = search.search([artefact("people.csv"), artefact(join("hr/gateways/records/people", `${jobId}.people`))]);
    expect(new Set(own.filter(({ place }) => !place.includes(" > ")).map(({ sentinel }) => sentinel)).size).toBe(2 * PEOPLE);
  }, 90_000);

  it("answers everybody once when model service, console, stream processor and source are killed in mid-job and started again", async () => {
    await using organisation = await Organisation.open(template.path);
    await organisation.start(...services);
    organisation.allow(0.2);
    let source = organisation.send();
    const jobId = idOf(await source.line(/^job /));
    // No more than 0.2 of the job gets through before each kill: it is in mid-job, however fast.
    const schedule = [
      ["model-service", 0.05],
      ["segment console", 0.25],
      ["stream-processor", 0.45],
    ] as const;
    for (const [i, [name, share]] of schedule.entries()) {
      await organisation.stored(jobId, headId, share);
      await organisation.kill(name);
      const { frames, frameCount } = await organisation.stored(jobId, headId, 0);
      expect(frames).toBeLessThanOrEqual(0.2 * (i + 1) * frameCount);
      if (name === "model-service") organisation.unsettle();
      organisation.allow(0.2); // while it is away
      await organisation.start(name);
    }
    await organisation.stored(jobId, headId, 0.65);
    expect(await source.stop("SIGKILL")).toMatchObject({ signal: "SIGKILL" });
    const { frames, frameCount } = organisation.acknowledged(jobId);
    expect(frames).toBeLessThanOrEqual(0.8 * frameCount);
    organisation.gate.allow(Number.POSITIVE_INFINITY);
    source = organisation.send(jobId);
    const { code, stdout, stderr } = await source.ended;
    expect([code, stdout], stderr).toEqual([0, expect.stringContaining("done, 100 %")]);
    await compare(organisation, jobId);
    expect(organisation.atConsole((jobs) => jobs.duplicated({ jobId, headId }))).toBeGreaterThan(0);
    expect(organisation.atConsole((jobs) => jobs.list())).toHaveLength(1);
    await organisation.stopAll();
  }, 90_000);

  it("holds a job that is paused until it is resumed, and shows nothing of one that was cancelled", async () => {
    await using organisation = await Organisation.open(template.path);
    const { gate } = organisation;
    await organisation.start(...services);
    organisation.allow(0.3);
    const held = organisation.send();
    const paused = idOf(await held.line(/^job /));
    await organisation.stored(paused, headId, 0.1);
    expect(await organisation.source(`pause ${paused}`)).toMatchObject({ state: "paused" });
    gate.allow(Number.POSITIVE_INFINITY); // what was sent already arrives
    expect(await held.ended).toMatchObject({ code: 1, stdout: expect.stringContaining(`smile segment resume ${paused}`) });
    const { frames, frameCount } = organisation.acknowledged(paused);
    expect(frames).toBeLessThan(frameCount);
    await organisation.source(`resume ${paused}`);
    expect(await organisation.send(paused).ended).toMatchObject({ code: 0 });
    await compare(organisation, paused);

    gate.hold();
    organisation.allow(0.3);
    const ended = organisation.send();
    const cancelled = idOf(await ended.line(/^job /));
    await organisation.stored(cancelled, headId, 0.1);
    expect(await organisation.source(`cancel ${cancelled}`)).toMatchObject({ state: "cancelled" });
    gate.allow(Number.POSITIVE_INFINITY);
    expect(await ended.ended).toMatchObject({ code: 1, stdout: expect.stringContaining("cancelled") });
    const key = "--key analyst/key.json --passphrase-file analyst/passphrase";
    const asked = await organisation.command(`smile segment request ${cancelled} --purpose training --config ${CONSOLE} ${key}`);
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining("JOB_INCOMPLETE") });
    const { jobs } = JSON.parse((await organisation.command(`smile segment jobs --config ${CONSOLE} --json`)).stdout);
    expect(jobs).toMatchObject([
      { jobId: paused, complete: true },
      { jobId: cancelled, complete: false, people: false },
    ]);
    await organisation.stopAll();
  }, 90_000);
});

function identifierSentinel(identifier: string): Sentinel {
  return { kind: "identifier", form: "text", bytes: Buffer.from(identifier) };
}

/** The other forms, such as hexadecimal digits, are what the search reads bytes as. */
function pseudonymSentinels(pseudonym: bigint): Sentinel[] {
  const [little, big] = [Buffer.alloc(8), Buffer.alloc(8)];
  little.writeBigUInt64LE(pseudonym);
  big.writeBigUInt64BE(pseudonym);
  return [
    { kind: "pseudonym", form: "little endian", bytes: little },
    { kind: "pseudonym", form: "big endian", bytes: big },
  ];
}
