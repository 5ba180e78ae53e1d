import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

const FOLDER = fileURLToPath(new URL("../compose", import.meta.url));
const text = readFileSync(join(FOLDER, "compose.yaml"), "utf8");

type Service = {
  readonly image?: string;
  readonly build?: unknown;
  readonly restart?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: unknown;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
};
const compose = parse(text, { merge: true }) as { services: Record<string, Service>; volumes: Record<string, unknown> };
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

  it("declares every volume that it mounts, and mounts only files that are there", () => {
    for (const [name, { volumes = [] }] of services) {
      for (const volume of volumes) {
        const [source = ""] = volume.split(":");
        if (source.startsWith("./")) expect(existsSync(join(FOLDER, source)), `${name}: ${source}`).toBe(true);
        else expect(Object.keys(compose.volumes), `${name}: ${source}`).toContain(source);
      }
    }
  });

  it("gives the plant's keystore to the plant alone, and the head to the model service alone", () => {
    const mounting = (volume: string) =>
      services.flatMap(([name, { volumes = [] }]) => (volumes.some((each) => each.startsWith(`${volume}:`)) ? [name] : [])).sort();
    expect(mounting("plant")).toEqual(["plant-console", "setup"]);
    expect(mounting("model")).toEqual(["model-service", "setup"]);
  });

  it("starts services with configurations that they accept: only what setup makes is missing here", () => {
    const configured = services.flatMap(([name, { command = [] }]) =>
      Array.from(command.join(" ").matchAll(/(\S+) --config \/smile\/compose\/config\/(\S+\.json)/g), ([, service, file]) => ({
        name,
        service,
        file,
      })),
    );
    expect(configured.length).toBeGreaterThanOrEqual(5);
    for (const { name, service, file } of configured) {
      const main = fileURLToPath(new URL("../cli/src/main.ts", import.meta.url));
      const { status, stderr } = spawnSync(process.execPath, [main, service!, "--config", join(FOLDER, "config", file!)], {
        encoding: "utf8",
        timeout: 30_000,
      });
      expect(`${name}: ${stderr}`).not.toContain("CONFIG_INVALID");
      expect(`${name}: ${stderr}`).toContain("FILE_MISSING");
      expect(status, name).not.toBe(0);
    }
  });
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
