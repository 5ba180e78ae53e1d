import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RiskStore } from "@smile/plant-console/store";
import { LogConfig } from "@smile/runtime/log-config";
import { WITHOUT_TLS } from "@smile/runtime/tls-config";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { freePort } from "./support/free-port.ts";
import { temporaryFolder } from "./support/small-deployment.ts";
import { startShell } from "./support/smile-process.ts";

const FOLDER = fileURLToPath(new URL("../compose", import.meta.url));
const text = readFileSync(join(FOLDER, "compose.yaml"), "utf8");

type Service = {
  readonly image?: string;
  readonly build?: unknown;
  readonly restart?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly entrypoint?: readonly string[];
  readonly networks?: readonly string[];
  readonly network_mode?: string;
  readonly mem_limit?: string;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: unknown;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
};
const compose = parse(text, { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
  networks: Record<string, unknown>;
};
const services = Object.entries(compose.services);

describe("compose.yaml", () => {
  it("pins the version of every image that it does not build itself", () => {
    for (const [name, { image, build }] of services) {
      expect(image, name).toMatch(/:\d+\.\d+(\.\d+)?$/);
      if (build === undefined) expect(image, name).not.toMatch(/^smile-stream/);
    }
    expect(readFileSync(join(FOLDER, "Dockerfile"), "utf8")).toMatch(/^FROM node:\d+\.\d+\.\d+-/m);
  });

  it("publishes ports on loopback only", () => {
    for (const [name, { ports = [] }] of services) for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  });

  it("holds no password and no token: each comes from a file that is made at random", () => {
    for (const [name, { environment = {} }] of services) {
      for (const variable of Object.keys(environment)) {
        if (/PASSWORD|TOKEN|SECRET/.test(variable)) expect(`${name}: ${variable}`).toMatch(/_FILE$/);
      }
    }
  });

  it("checks the health of everything that stays up, and waits for it", () => {
    for (const [name, { restart, healthcheck }] of services) if (restart !== "no") expect(healthcheck, name).toBeDefined();
    for (const [name, { depends_on = {} }] of services) {
      for (const [needed, { condition }] of Object.entries(depends_on)) {
        const ends = compose.services[needed]?.restart === "no";
        expect(condition, `${name} needs ${needed}`).toBe(ends ? "service_completed_successfully" : "service_healthy");
      }
    }
  });

  it("declares every network and volume that it uses, and mounts only files that are there", () => {
    for (const [name, { volumes = [], networks = [] }] of services) {
      for (const network of networks) expect(Object.keys(compose.networks), name).toContain(network);
      for (const volume of volumes) {
        const [source = ""] = volume.split(":");
        if (source.startsWith("./")) expect(existsSync(join(FOLDER, source)), `${name}: ${source}`).toBe(true);
        else expect(Object.keys(compose.volumes), `${name}: ${source}`).toContain(source);
      }
    }
  });

  it("gives each party's files to that party alone", () => {
    const mounting = (volume: string) =>
      services.flatMap(([name, { volumes = [] }]) => (volumes.some((each) => each.startsWith(`${volume}:`)) ? [name] : [])).sort();
    expect(mounting("plant")).toEqual(["plant-console", "setup"]);
    expect(mounting("passphrase")).toEqual(["plant-console", "secrets", "setup"]);
    expect(mounting("model-service")).toEqual(["model-service", "setup"]);
    expect(mounting("stream-processor")).toEqual(["setup", "stream-processor"]);
    for (const gateway of ["hall-1", "hall-2"]) expect(mounting(gateway)).toEqual([`edge-${gateway}`, "setup"]);
    // The key of the operator's authority, and the head before it is handed over.
    for (const volume of ["operator", "model"]) expect(mounting(volume)).toEqual(["setup"]);
  });

  it("does without TLS only in networks of one party", () => {
    const inside = (network: string) => services.flatMap(([name, { networks = [] }]) => (networks.includes(network) ? [name] : [])).sort();
    expect(inside("operator")).toEqual(["kafka", "model-service", "stream-processor"]);
    expect(inside("plant")).toEqual(["grafana", "influxdb", "plant-console"]);
    expect(inside("between")).toEqual(["edge-hall-1", "edge-hall-2", "plant-console", "stream-processor"]);
    for (const [name, { networks, network_mode }] of services) expect([name, networks?.length ?? network_mode]).not.toContain(undefined);
  });

  it("leaves every program of ours twice the memory that opening a keystore takes, beside what it runs in", () => {
    const ours = services.filter(([, { build }]) => build !== undefined);
    expect(ours.length).toBeGreaterThanOrEqual(7);
    for (const [name, { mem_limit = "" }] of ours)
      expect(Number(/^(\d+)m$/.exec(mem_limit)?.[1]), name).toBeGreaterThanOrEqual(2 * 128 + 256);
  });
});

describe("what secrets.sh and setup.sh make", () => {
  const temporary = temporaryFolder();
  const root = temporary.path;
  afterAll(() => temporary[Symbol.dispose]());
  const volumes = Object.keys(compose.volumes).filter((name) => !["kafka", "influxdb", "grafana"].includes(name));
  const { uid, gid } = userInfo();
  const run = async (script: string) => {
    const { code, stderr } = await startShell(`sh ${join(FOLDER, script)} "${root}"`, { env: { SMILE_USER: `${uid}:${gid}` } }).ended;
    expect(code, stderr).toBe(0);
  };
  const hashes = () =>
    new Map(
      readdirSync(root, { recursive: true, encoding: "utf8" })
        .filter((path) => statSync(join(root, path)).isFile())
        .map((path) => [
          path,
          createHash("sha256")
            .update(readFileSync(join(root, path)))
            .digest("hex"),
        ]),
    );

  beforeAll(async () => {
    for (const name of volumes) mkdirSync(join(root, name));
    await run("secrets.sh");
    await run("setup.sh");
  }, 120_000);

  it("is made once, and stays as it is when they run again", async () => {
    const before = hashes();
    await run("secrets.sh");
    await run("setup.sh");
    expect(hashes()).toEqual(before);
    const mode = (path: string) => statSync(join(root, path)).mode & 0o777;
    expect(mode("passphrase/passphrase")).toBe(0o400);
    for (const path of ["model-service/signing-key.json", "stream-processor/key.pem", "hall-1/key.pem", "operator/authority-key.pem"])
      expect([path, mode(path)]).toEqual([path, 0o600]);
  }, 60_000);

  it("leaves secrets of one party in no folder of another", () => {
    const text = (path: string) => readFileSync(join(root, path), "latin1");
    const secret = (path: string) => (path.endsWith(".pem") ? text(path).split("\n")[1]! : (JSON.parse(text(path)).secretKey as string));
    const homes: Record<string, readonly string[]> = {
      "operator/authority-key.pem": ["operator"],
      "operator/stream-processor/key.pem": ["operator", "stream-processor"],
      "operator/model-service/signing-key.json": ["operator", "model-service"],
      "plant/console/key.pem": ["plant"],
      "hall-1/key.pem": ["plant", "hall-1"],
      "hall-1/signing-key.json": ["plant", "hall-1"],
      "hall-2/signing-key.json": ["plant", "hall-2"],
    };
    for (const [path, allowed] of Object.entries(homes)) {
      const holders = [...hashes().keys()].filter((each) => text(each).includes(secret(path))).map((each) => each.split("/")[0]!);
      expect([path, [...new Set(holders)].toSorted()]).toEqual([path, allowed.toSorted()]);
    }
    expect([...hashes().keys()].filter((path) => path.endsWith("keystore.json"))).toEqual(["plant/keystore.json"]);
    expect([...hashes().keys()].filter((path) => path.endsWith("head.json"))).toEqual(["model/head.json", "model-service/head.json"]);
  });

  it("is what every service starts from, with the file's own command and variables, and scores come back to the plant", async () => {
    // What only Docker has here: names of containers, and a Kafka.
    const ports = { frames: await freePort(), scores: await freePort() };
    for (const service of ["stream-processor", "model-service"]) {
      const path = join(root, service, `${service}.json`);
      const settings = JSON.parse(readFileSync(path, "utf8")) as { log: { kafka?: unknown } };
      expect(LogConfig.parse(settings.log).kafka).toMatchObject({ brokers: ["kafka:9092"], withoutTls: WITHOUT_TLS });
      writeFileSync(path, JSON.stringify({ ...settings, log: { path: join(root, "log.db") } }));
    }
    await using opened = new AsyncDisposableStack();
    const start = async (name: string, env: Record<string, string> = {}) => {
      const { entrypoint, command = [], environment = {} } = compose.services[name]!;
      const line = (entrypoint === undefined ? ["exec", "smile", ...command] : command).join(" ").replaceAll(" /", ` ${root}/`);
      const variables = Object.entries(environment).map(([key, value]) => [key, String(value).replace(/^\/(?!\/)/, `${root}/`)]);
      const port = await freePort();
      const running = opened.use(
        startShell(line.replace("--steps 100000 --pace 1000", "--steps 60 --pace 0"), {
          env: { ...Object.fromEntries(variables), ...env, SMILE_HEALTH_PORT: `${port}` },
        }),
      );
      const healthy = running.line(/health and metrics are served/).then(async () => {
        await vi.waitUntil(async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok, { timeout: 20_000, interval: 50 });
      });
      return { running, healthy };
    };
    const operator = [
      await start("stream-processor", { SMILE_FRAMES_PORT: `${ports.frames}`, SMILE_SCORES_PORT: `${ports.scores}` }),
      await start("model-service"),
    ];
    await Promise.all(operator.map(({ healthy }) => healthy));
    const console = await start("plant-console", { SMILE_MQTT_URL: `mqtts://localhost:${ports.scores}` });
    await console.healthy;
    const agents = await Promise.all(
      ["edge-hall-1", "edge-hall-2"].map((name) => start(name, { SMILE_MQTT_URL: `mqtts://localhost:${ports.frames}` })),
    );
    for (const { running, healthy } of agents) {
      healthy.catch(() => {}); // it may end before anybody asks
      const { code, stderr } = await running.ended;
      expect(code, stderr).toBe(0);
    }
    using store = new RiskStore({ path: join(root, "plant/console/plant-console.db"), plant: "demo" });
    await vi.waitUntil(() => store.counts().risks > 100, { timeout: 20_000, interval: 20 });
    for (const { running } of [console, ...operator]) expect((await running.stop("SIGTERM")).code).toBe(0);
  }, 90_000);
});

const plugin = spawnSync("docker", ["compose", "version"], { encoding: "utf8" }).status === 0;
it.skipIf(!plugin)(
  plugin
    ? "is what docker compose accepts"
    : "NOT RUN: docker compose is not on this machine, so nothing but the checks above has read the file",
  () => {
    const { status, stderr } = spawnSync("docker", ["compose", "-f", join(FOLDER, "compose.yaml"), "config", "--quiet"], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  },
);
