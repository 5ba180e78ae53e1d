import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { WindowStream } from "@smile/features/window-stream";
import { integerScores } from "@smile/model-service/training/quantise-head";
import { RiskStore } from "@smile/plant-console/store";
import { readAudit } from "@smile/runtime/audit-log";
import { DeploymentDocument, type Head, HeadDocument } from "@smile/schemas/documents";
import { parseNdjsonRow } from "@smile/simulators/ndjson";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { temporaryFolder } from "./support/small-deployment.ts";
import { ROOT, type SmileProcess, startShell } from "./support/smile-process.ts";

/** The commands of examples/plant/README.md, by the name of their blocks. */
const EXAMPLE = join(ROOT, "examples/plant");
const blocks = new Map<string, string[]>();
for (const [, name, text] of readFileSync(join(EXAMPLE, "README.md"), "utf8").matchAll(/^```sh (\w+)\n(.*?)^```/gms))
  blocks.set(name!, [...(blocks.get(name!) ?? []), ...text!.trim().replaceAll("npx smile", "smile").split("\n")]);

const services = ["stream-processor", "model-service", "plant-console"] as const;
type ServiceName = (typeof services)[number];
/** What each service says once it takes work. */
const STARTED = {
  "stream-processor": /stream processor started/,
  "model-service": /model service started/,
  "plant-console": /console started/,
};

const gateways = ["hall-1", "hall-2"] as const;
/** Files that name the brokers' ports. */
const CONFIGURED = [
  ...["service/stream-processor.json", "north/console/plant-console.json"],
  ...gateways.flatMap((gateway) => [`north/gateways/${gateway}/edge-agent.json`, `north/gateways/${gateway}/service.json`]),
];

type Score = { readonly endMs: number; readonly score: number };

/** A copy of the example in a folder of its own, on ports that are free. */
class Plant implements AsyncDisposable {
  readonly folder: string;
  readonly #opened = new AsyncDisposableStack();
  readonly #services = new Map<ServiceName, SmileProcess>();

  constructor(template: string, ports: ReadonlyMap<number, number>) {
    this.folder = this.#opened.use(temporaryFolder()).path;
    cpSync(template, this.folder, { recursive: true });
    for (const path of CONFIGURED.map((each) => join(this.folder, each))) {
      const text = readFileSync(path, "utf8").replace(/\b888[34]\b/g, (port) => String(ports.get(Number(port))!));
      writeFileSync(path, text);
    }
  }

  async start(name: ServiceName): Promise<void> {
    const command = blocks.get("services")!.find((line) => line.startsWith(`smile ${name} `))!;
    const running = this.#opened.use(startShell(`exec ${command}`, { cwd: this.folder }));
    this.#services.set(name, running);
    await running.line(STARTED[name]);
  }

  stop(name: ServiceName, signal: NodeJS.Signals) {
    return this.#services.get(name)!.stop(signal);
  }

  /** Lets the machines of both gateways run through their agents; they end by themselves. */
  machines(steps: number): SmileProcess[] {
    return machineCommands(steps).map((line) => this.#opened.use(startShell(line, { cwd: this.folder })));
  }

  /** Runs a block of the README. */
  async run(block: string): Promise<string> {
    const { code, stdout, stderr } = await startShell(blocks.get(block)!.join(" && "), { cwd: this.folder }).ended;
    expect(code, stderr).toBe(0);
    return stdout;
  }

  /** The next line of a service that matches. */
  line(name: ServiceName, pattern: RegExp): Promise<string> {
    return this.#services.get(name)!.line(pattern);
  }

  /** The agents alone; the test writes the rows. */
  agents(): SmileProcess[] {
    return machineCommands(0).map((line) =>
      this.#opened.use(startShell(`exec ${line.split(" | ")[1]}`, { cwd: this.folder, stdin: "pipe" })),
    );
  }

  /** Risks in the console's store. */
  risks(): number {
    using store = new RiskStore({ path: join(this.folder, "north/console/plant-console.db"), plant: "north" });
    return store.counts().risks;
  }

  /** Resolves once the console's store holds this many risks. */
  async stored(risks: number): Promise<void> {
    await vi.waitUntil(() => this.risks() >= risks, { timeout: 60_000, interval: 20 });
  }

  /** Every risk of the store by machine, in event time. */
  scores(machines: Iterable<string>, headId: string): Map<string, Score[]> {
    using store = new RiskStore({ path: join(this.folder, "north/console/plant-console.db"), plant: "north" });
    const scoresOf = (machine: string) =>
      store
        .risksOf(machine, { headId, limit: 100_000 })
        .map(({ frameTimeMs, score }) => ({ endMs: frameTimeMs, score }))
        .reverse();
    return new Map([...machines].map((machine) => [machine, scoresOf(machine)]));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}

/** The README's lines, as fast as they go and for so many hours of the machines. */
function machineCommands(steps: number): string[] {
  return blocks.get("machines")!.map((line) => line.replace(/--steps \d+ --pace \d+/, `--steps ${steps} --pace 0`));
}

/** The rows of each gateway's machines, line by line. */
async function simulated(steps: number): Promise<string[][]> {
  const simulations = machineCommands(steps).map((line) => startShell(line.split(" | ")[0]!).ended);
  return (await Promise.all(simulations)).map(({ stdout }) => stdout.trimEnd().split("\n"));
}

/** Ports that are free now, in the place of the example's. */
async function freePorts(): Promise<ReadonlyMap<number, number>> {
  const servers = [8883, 8884].map((port) => ({ port, server: createServer().listen(0, "127.0.0.1") }));
  const ports = new Map<number, number>();
  for (const { port, server } of servers) {
    await new Promise<void>((resolve) => (server.listening ? resolve() : server.once("listening", resolve)));
    ports.set(port, (server.address() as { port: number }).port);
  }
  await Promise.all(servers.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

describe("examples/plant, as processes of their own", () => {
  const template = temporaryFolder();
  afterAll(() => template[Symbol.dispose]());
  const read = (file: string): unknown => JSON.parse(readFileSync(join(template.path, file), "utf8"));
  let head: Head;
  let headId: string;

  beforeAll(async () => {
    cpSync(EXAMPLE, template.path, { recursive: true, filter: (path) => !/\/(model|service|north|passphrase)$/.test(path) });
    await using prepared = startShell(blocks.get("prepare")!.join(" && "), { cwd: template.path });
    const { code, stderr } = await prepared.ended;
    expect(code, stderr).toBe(0);
    head = HeadDocument.parse(read("model/head.json"));
    headId = DeploymentDocument.parse(read("model/deployment.json")).cards[0]!.headId;
  }, 60_000);

  /** What the plant must end up with: the integer head on every window of every machine, computed without any service. */
  function expected(lines: readonly string[]): Map<string, Score[]> {
    const { featureSet } = DeploymentDocument.parse(read("model/deployment.json"));
    const windows = new WindowStream(featureSet);
    const lifted = [...lines.flatMap((line, i) => windows.push(parseNdjsonRow(line, i + 1))), ...windows.flush()];
    const scores = new Map<string, Score[]>();
    for (const { machine, endMs, features } of lifted) {
      const list = scores.get(machine) ?? [];
      scores.set(machine, list);
      list.push({ endMs, score: integerScores(head, features)[0]! });
    }
    return scores;
  }

  const total = (scores: Map<string, Score[]>) => [...scores.values()].reduce((sum, { length }) => sum + length, 0);

  async function stopAll(plant: Plant): Promise<void> {
    const ends = await Promise.all(
      services.map(async (name) => {
        const wantedMs = performance.now();
        const { code, signal } = await plant.stop(name, "SIGTERM");
        return { name, code, signal, inTime: performance.now() - wantedMs < 10_000 };
      }),
    );
    expect(ends).toEqual(services.map((name) => ({ name, code: 0, signal: null, inTime: true })));
  }

  async function compare(plant: Plant, wanted: Map<string, Score[]>): Promise<void> {
    await plant.stored(total(wanted));
    await stopAll(plant);
    expect(wanted.size).toBe(8);
    expect(plant.scores(wanted.keys(), headId)).toEqual(wanted);
    expect(plant.risks()).toBe(total(wanted));
  }

  it("runs by the commands of its README: every window appears at the console once, with its score, and all stop on SIGTERM", async () => {
    await using plant = new Plant(template.path, await freePorts());
    const [rows] = await Promise.all([simulated(60), ...services.map((name) => plant.start(name))]);
    const ends = await Promise.all(plant.machines(60).map(({ ended }) => ended));
    for (const { code, stderr } of ends) expect(code, stderr).toBe(0);
    await compare(plant, expected(rows.flat()));
  }, 90_000);

  it("loses nothing and shows nothing twice when each service is killed in mid-stream and started again", async () => {
    await using plant = new Plant(template.path, await freePorts());
    const [rows] = await Promise.all([simulated(300), ...services.map((name) => plant.start(name))]);
    const wanted = expected(rows.flat());
    const agents = plant.agents();
    const write = (from: number, to: number) => {
      for (const [g, lines] of rows.entries()) {
        const part = lines.slice(Math.floor(from * lines.length), Math.floor(to * lines.length));
        agents[g]!.stdin.write(part.map((line) => `${line}\n`).join(""));
      }
    };
    // By the share of the rows that came before, no more than that share of the risks can be there: it is in mid-stream, however fast.
    const schedule = [
      { name: "stream-processor", rows: 0.3, risks: 0.05 },
      { name: "model-service", rows: 0.6, risks: 0.35 },
      { name: "plant-console", rows: 0.9, risks: 0.65 },
    ] as const;
    write(0, schedule[0].rows);
    for (const [i, { name, rows: sofar, risks }] of schedule.entries()) {
      await plant.stored(risks * total(wanted));
      expect(await plant.stop(name, "SIGKILL")).toMatchObject({ signal: "SIGKILL" });
      expect(plant.risks()).toBeLessThan(sofar * total(wanted));
      write(sofar, schedule[i + 1]?.rows ?? 1); // while it is away
      await plant.start(name);
    }
    for (const { stdin } of agents) stdin.end();
    for (const { ended } of agents) {
      const { code, stderr } = await ended;
      expect(code, stderr).toBe(0);
    }
    await compare(plant, wanted);
  }, 120_000);

  it("loses nothing and shows nothing twice while its keys and a gateway's certificate change under load", async () => {
    await using plant = new Plant(template.path, await freePorts());
    const [rows] = await Promise.all([simulated(1500), ...services.map((name) => plant.start(name))]);
    const wanted = expected(rows.flat());
    const agents = plant.agents();
    // Windows that are complete once so many rows of each gateway have come: a small number of them is under way at any time.
    const complete = rows[0]!.map(() => 0);
    const windows = new WindowStream(DeploymentDocument.parse(read("model/deployment.json")).featureSet);
    for (let i = 0, sofar = 0; i < complete.length; i++) {
      for (const lines of rows) if (i < lines.length) sofar += windows.push(parseNdjsonRow(lines[i]!, i + 1)).length;
      complete[i] = sofar;
    }
    let isChanged = false;
    const changed = Promise.withResolvers<void>();
    const held = Math.floor(0.8 * complete.length); // the rest comes after the changes, however long they take
    const feed = async () => {
      for (let i = 0; i < complete.length; i++) {
        for (const [g, lines] of rows.entries()) if (i < lines.length) agents[g]!.stdin.write(`${lines[i]}\n`);
        if (!isChanged) await plant.stored(complete[i]! - 60);
        if (i === held) await changed.promise;
      }
      for (const [g, lines] of rows.entries())
        agents[g]!.stdin.end(
          lines
            .slice(complete.length)
            .map((line) => `${line}\n`)
            .join(""),
        );
    };
    const feeding = feed();
    feeding.catch(() => {}); // awaited below, once the changes are made
    await plant.stored(60);
    await plant.run("rotate");
    for (const agent of agents) await agent.line(/windows are encrypted under another key/);
    await plant.run("renew");
    await agents[0]!.line(/"files":"signing_key".*in force now/);
    await agents[0]!.line(/took the renewed TLS files/);
    isChanged = true;
    changed.resolve();
    await feeding;
    for (const { ended } of agents) {
      const { code, stderr } = await ended;
      expect(code, stderr).toBe(0);
    }
    await compare(plant, wanted);
  }, 180_000);

  it("takes nothing of a gateway from the moment that it is revoked, and everything of its neighbour; what was done is in sound logs", async () => {
    await using plant = new Plant(template.path, await freePorts());
    const [[ofFirst]] = await Promise.all([simulated(60), ...services.map((name) => plant.start(name))]);
    const wanted = expected(ofFirst!);
    expect(await plant.run("revoke")).toContain("gateway hall-2 is revoked");
    await plant.line("stream-processor", /"serial":4\b.*took a register/);
    const [first, second] = plant.machines(60);
    const { code, stderr } = await first!.ended;
    expect(code, stderr).toBe(0);
    await second!.line(/the broker may not know this certificate/);
    await plant.line("stream-processor", /not-registered.*CN=hall-2/);
    await plant.stored(total(wanted));
    await second!.stop("SIGKILL");
    await stopAll(plant);
    expect(plant.scores(wanted.keys(), headId)).toEqual(wanted);
    expect(plant.risks()).toBe(total(wanted));

    expect(await plant.run("audit")).toMatch(/^sound {3}north\/audit\.db: .*\nsound {3}service\/audit\.db: /);
    const actions = (file: string) => [...readAudit(join(plant.folder, file))].map(({ action }) => action);
    expect(actions("north/audit.db")).toEqual(expect.arrayContaining(["key-made", "gateway-added", "gateway-revoked", "keystore-opened"]));
    expect(actions("service/audit.db")).toEqual(expect.arrayContaining(["key-made", "deployment-loaded", "register-taken"]));
  }, 90_000);
});
