import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { initService } from "@smile/cli/operator/service-folder";
import { addGateway } from "@smile/custody/plant/gateways";
import { initPlant } from "@smile/custody/plant/init-plant";
import { edgeAgentCommand } from "@smile/edge-agent/command";
import { modelServiceCommand } from "@smile/model-service/command";
import { plantConsoleCommand } from "@smile/plant-console/command";
import { RiskStore } from "@smile/plant-console/store";
import { readJsonFile } from "@smile/runtime/json-file";
import type { Service } from "@smile/runtime/lifecycle";
import { createLogger } from "@smile/runtime/logging";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { streamProcessorCommand } from "@smile/stream-processor/command";
import { expect, it, vi } from "vitest";
import { hasVictoriaMetrics, mustHaveBrokers, VictoriaMetrics } from "../runtime/test/victoria-metrics.ts";
import { freePort } from "./support/free-port.ts";
import { PLANT, smallDeployment, temporaryFolder } from "./support/small-deployment.ts";

/** A service that runs in this process from its configuration file, with its health pages. */
class Running implements AsyncDisposable {
  readonly service: Service;
  readonly #url: string;
  readonly #stop: AbortController;

  private constructor(service: Service, url: string, stop: AbortController) {
    this.service = service;
    this.#url = url;
    this.#stop = stop;
  }

  static async start(command: ServiceCommand, folder: string, settings: object): Promise<Running> {
    const configFile = join(folder, `${command.name}.json`);
    writeFileSync(configFile, JSON.stringify({ health: { port: 0 }, ...settings }));
    const urls: string[] = [];
    const to = new Writable({
      write: (line, _, done) => {
        const { msg, url } = JSON.parse(String(line));
        if (msg === "health and metrics are served") urls.push(url);
        done();
      },
    });
    const stop = new AbortController();
    const logger = () => createLogger({ service: command.name, to });
    const service = await command.start({ configFile, folder, env: {}, logger, signal: stop.signal, values: {} });
    return new Running(service, urls[0]!, stop);
  }

  async missing(): Promise<string[]> {
    return ((await (await fetch(`${this.#url}/readyz`)).json()) as { missing: string[] }).missing;
  }

  async ready(): Promise<void> {
    await vi.waitUntil(async () => (await fetch(`${this.#url}/readyz`)).status === 200, { timeout: 10_000 });
  }

  async metric(series: string): Promise<number | undefined> {
    const text = await (await fetch(`${this.#url}/metrics`)).text();
    const line = text.split("\n").find((each) => each.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.service[Symbol.asyncDispose]();
  }
}

const title = "tells what each service does, lacks and has still to do, and stores risks in a time-series database that comes late";
if (!hasVictoriaMetrics && !mustHaveBrokers) {
  it.skip(`DID NOT RUN: ${title} (apt-get install victoria-metrics)`, () => {});
} else {
  it(title, async () => {
    const machines = ["press-1", "press-2", "press 3, old"];
    const seconds = 20;
    using small = await smallDeployment({ scheme: "bgv" });
    using temporary = temporaryFolder();
    const folder = temporary.path;
    const at = (path: string) => join(folder, path);
    writeFileSync(at("deployment.json"), JSON.stringify(small.deployed.deployment));
    writeFileSync(at("head.json"), JSON.stringify(small.deployed.heads[0]!));
    const made = { tls: false, days: 1, nowMs: Date.now() };
    const { paths } = await initService({ folder: at("operator"), name: "here", hosts: ["127.0.0.1"], ...made });
    const passphrase = "nine winter geese";
    writeFileSync(at("passphrase"), passphrase, { mode: 0o600 });
    const access = { folder: at("plant"), passphrase, env: {}, nowMs: made.nowMs, cost: 2 ** 10 };
    const asked = { plant: PLANT, deployment: at("deployment.json"), service: paths.service, passphraseFile: at("passphrase"), ...made };
    const { identityHash: identity } = await initPlant(access, asked);
    await addGateway(access, { gateway: "hall-1", machines, days: 1 });
    const plantsOf = (service: string) => [{ register: "plant/register.json", identity, taken: `${service}-register.json` }];
    const configuration = (path: string) => readJsonFile(at(path), "configuration") as object;
    const rows = Array.from({ length: seconds * 10 }, (_, i) =>
      machines.map((machine, m) =>
        JSON.stringify({ machine, timeMs: 1_767_225_600_000 + i * 100, values: { a: Math.sin(i + m), b: i % 7, c: m, d: Math.cos(i) } }),
      ),
    );
    writeFileSync(at("rows.ndjson"), `${rows.flat().join("\n")}\n`);
    const [frames, scores] = [{ port: await freePort() }, { port: await freePort() }];

    // The agent alone: it lifts and encrypts, and all of it waits.
    const gateway = "plant/gateways/hall-1";
    await using agent = await Running.start(edgeAgentCommand, at(gateway), {
      ...configuration(`${gateway}/edge-agent.json`),
      mqtt: { url: `mqtt://127.0.0.1:${frames.port}` },
      source: { kind: "file", path: at("rows.ndjson"), atEnd: "flush" },
      lingerMs: 20,
    });
    const rowCount = machines.length * seconds * 10;
    await vi.waitUntil(async () => (await agent.metric("smile_edge_agent_rows_total")) === rowCount, { timeout: 10_000 });
    expect(await agent.missing()).toEqual(["connected to the broker"]);
    const windows = (await agent.metric("smile_edge_agent_windows_total"))!;
    expect(windows).toBeGreaterThanOrEqual(machines.length * (seconds - 1));
    expect(await agent.metric("smile_edge_agent_windows_framed_total")).toBe(windows);
    const frameCount = (await agent.metric("smile_edge_agent_frames_total"))!;
    expect(await agent.metric("smile_edge_agent_spool_frames")).toBe(frameCount);

    // The processor alone: it takes everything over, and nobody scores.
    const log = { path: "log.db", partitions: 1 };
    await using processor = await Running.start(streamProcessorCommand, folder, {
      log,
      deployments: ["deployment.json"],
      plants: plantsOf("processor"),
      frames,
      scores,
    });
    await processor.ready();
    await agent.service.done;
    expect(await agent.metric("smile_edge_agent_spool_frames")).toBe(0);
    expect(await processor.metric("smile_stream_processor_frames_accepted_total")).toBe(frameCount);
    await vi.waitUntil(async () => (await processor.metric("smile_stream_processor_lag_records")) === 0, { timeout: 10_000 });
    const batchCount = (await processor.metric("smile_stream_processor_batches_total"))!;

    await using models = await Running.start(modelServiceCommand, folder, {
      log,
      deployments: [{ deployment: "deployment.json", heads: ["head.json"] }],
      plants: plantsOf("models"),
      signingKey: paths.signingKey,
      threads: 1,
    });
    await models.ready();
    await vi.waitUntil(async () => (await models.metric("smile_model_service_lag_records")) === 0, { timeout: 10_000 });
    expect(await models.metric("smile_model_service_batches_total")).toBe(batchCount);
    expect(await models.metric("smile_model_service_scoring_seconds_count")).toBe(batchCount);

    // The console, whose database is not there yet: no risk waits for it.
    await using database = await VictoriaMetrics.open(false);
    {
      await using console = await Running.start(plantConsoleCommand, at("plant/console"), {
        ...configuration("plant/console/plant-console.json"),
        mqtt: { url: `mqtt://127.0.0.1:${scores.port}` },
        timeSeries: { url: database.url, org: "plant", bucket: "smile", flushMs: 10, figuresMs: 100, instance: "console-1" },
      });
      await vi.waitUntil(async () => (await console.metric("smile_plant_console_risks_total")) === windows, { timeout: 10_000 });
      await console.ready();
      expect(await console.metric("smile_plant_console_window_to_risk_seconds_count")).toBe(windows);
      expect(await console.metric("smile_time_series_points_written_total")).toBe(0);
      expect(await console.metric("smile_time_series_spool_bytes")).toBeGreaterThan(0);
      await vi.waitUntil(async () => (await processor.metric(`smile_stream_processor_plant_lag_records{plant="${PLANT}"}`)) === 0, {
        timeout: 10_000,
      });

      await database.start();
      await vi.waitUntil(async () => (await console.metric("smile_time_series_points_written_total"))! > windows, { timeout: 10_000 });
      await processor[Symbol.asyncDispose]();
      await vi.waitUntil(async () => (await console.missing()).includes("connected to the broker"), { timeout: 10_000 });
    }

    const stored = await database.seriesWith(2 * windows, /smile_machine_(risk|score)/);
    const read = stored
      .filter(({ metric }) => metric.__name__ === "smile_machine_score")
      .flatMap(({ metric, values, timestamps }) => values.map((score, i) => `${metric.machine} ${timestamps[i]} ${score}`));
    using store = new RiskStore({ path: at("plant/console/plant-console.db"), plant: PLANT });
    const { headId } = small.deployed.deployment.cards[0]!;
    const kept = machines.flatMap((machine) => store.risksOf(machine, { headId, limit: 1000 }));
    expect(read.toSorted()).toEqual(kept.map(({ machine, frameTimeMs, score }) => `${machine} ${frameTimeMs} ${score}`).toSorted());
    expect(kept).toHaveLength(windows);
    // The console's last figures come after its last risk.
    const [risks] = await database.seriesWith(1, /smile_plant_console_risks_total/);
    expect(risks?.metric).toMatchObject({ plant: PLANT, service: "plant-console", instance: "console-1" });
    expect(risks?.values.at(-1)).toBe(windows);
  });
}
