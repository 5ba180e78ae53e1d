import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { identityHash, type PlantRegister } from "@smile/schemas/plant-register";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { openAuditLog, readAudit } from "../src/audit-log.ts";
import { writeJsonFile } from "../src/json-file.ts";
import { silentLogger } from "../src/logging.ts";
import { Metrics } from "../src/metrics.ts";
import { FixedRegistry, openPlantRegistry, type PlantRegistryOptions } from "../src/plant-registry.ts";
import { plantRegistryMetrics } from "../src/plant-registry-metrics.ts";
import { PlantsConfig } from "../src/plants-config.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "smile-registry-"));
});
afterEach(() => rm(folder, { recursive: true }));

const acme = fixturePlant({ plant: "acme", gateways: [{ gateway: "g1" }] });
const first = acme.register;
const identity = identityHash(first.identity);
const second = acme.next({ gateways: [] });
const third = acme.next({ gateways: first.gateways });
const other = fixturePlant({ plant: "other", gateways: [] });

const write = (register: PlantRegister, name = "acme.json") => writeJsonFile(join(folder, name), register);
const open = (more: Partial<PlantRegistryOptions> = {}) =>
  openPlantRegistry({ plants: [{ register: "acme.json", identity }], folder, logger: silentLogger(), ...more });
const serialOf = (registry: { find: FixedRegistry["find"] }) => registry.find("acme")?.register.serial;

function codeOf(run: () => unknown): string {
  try {
    run();
    return "none";
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return error.code;
  }
}

it("holds the plants whose registers it read, and tells when one changes", () => {
  write(first);
  write(other.register, "other.json");
  using registry = open({
    plants: [
      { register: "acme.json", identity },
      { register: "other.json", identity: identityHash(other.register.identity) },
    ],
  });
  let changes = 0;
  registry.onChange(() => changes++);
  registry.poll();
  expect([registry.plants.map(({ plant }) => plant), registry.find("nobody"), changes]).toEqual([["acme", "other"], undefined, 0]);
  write(second);
  registry.poll();
  expect([serialOf(registry), changes]).toEqual([2, 1]);
  registry.poll();
  expect(changes).toBe(1);
});

it("looks at the files by itself once in a while, and no longer after it was disposed", () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  try {
    write(first);
    const registry = open({ pollMs: 500 });
    write(second);
    vi.advanceTimersByTime(499);
    expect(serialOf(registry)).toBe(1);
    vi.advanceTimersByTime(1);
    expect(serialOf(registry)).toBe(2);
    registry[Symbol.dispose]();
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

it("reads a plant's register at once for a reader that met something unknown", () => {
  write(first);
  using registry = open();
  write(second);
  expect(registry.refresh("acme")?.register.serial).toBe(2);
  expect(registry.refresh("nobody")).toBeUndefined();
});

it("notices a change in the same moment and of the same length", () => {
  write(first);
  using registry = open();
  const path = join(folder, "acme.json");
  const before = readFileSync(path, "utf8");
  for (const text of [before.replace('"serial": 1', '"serial": 5'), JSON.stringify(third)]) {
    writeFileSync(path, text);
    registry.poll();
  }
  expect([registry.counters.refused, serialOf(registry)]).toEqual([{ SIGNATURE_INVALID: 1 }, 3]);
});

it.each<[why: string, put: () => void, code: string]>([
  ["an older serial", () => write(first), "REGISTER_STALE"],
  ["the same serial with other content", () => write(twin(second)), "REGISTER_STALE"],
  ["another plant's register", () => write(other.register), "SIGNATURE_INVALID"],
  ["a changed register", () => write({ ...third, serial: 9 }), "SIGNATURE_INVALID"],
  ["half a file", () => writeFileSync(join(folder, "acme.json"), JSON.stringify(third).slice(0, 100)), "FILE_DAMAGED"],
  ["a file that is no register", () => writeFileSync(join(folder, "acme.json"), "{}"), "DOCUMENT_INVALID"],
  ["a missing file", () => rmSync(join(folder, "acme.json")), "FILE_MISSING"],
])("keeps the register in force when the file turns to %s; tells and counts it once", (_, put, code) => {
  write(second);
  using registry = open();
  let changes = 0;
  registry.onChange(() => changes++);
  put();
  for (let i = 0; i < 3; i++) registry.poll();
  expect([serialOf(registry), registry.counters, changes]).toEqual([2, { taken: 1, refused: { [code]: 1 } }, 0]);
  write(third);
  registry.poll();
  expect([serialOf(registry), changes]).toEqual([3, 1]);
});

/** A register with the serial of another one, signed by the same plant. */
function twin(register: PlantRegister): PlantRegister {
  return acme.next({ ...unsigned(register), issuedAtMs: register.issuedAtMs + 1 });
}
function unsigned({ signature: _, identity: __, ...registration }: PlantRegister) {
  return registration;
}

it("refuses a register that names another plant, though the right identity signed it", () => {
  write(first);
  using registry = open();
  write(acme.next({ ...unsigned(third), serial: 7, plant: "renamed" }));
  registry.poll();
  expect([registry.counters.refused, serialOf(registry)]).toEqual([{ DOCUMENT_INVALID: 1 }, 1]);
});

it("takes no older register after a restart either, and starts although the file is bad", () => {
  write(second);
  open()[Symbol.dispose]();
  write(first);
  {
    using registry = open();
    expect([serialOf(registry), registry.counters]).toEqual([2, { taken: 0, refused: { REGISTER_STALE: 1 } }]);
  }
  writeFileSync(join(folder, "acme.json"), "damaged");
  using registry = open();
  expect([serialOf(registry), registry.counters.refused]).toEqual([2, { FILE_DAMAGED: 1 }]);
});

it("keeps the register that it took where the configuration says, and forgets it when another identity is pinned", () => {
  write(second);
  const plants = [{ register: "acme.json", identity, taken: "kept.json" }];
  open({ plants })[Symbol.dispose]();
  expect(JSON.parse(readFileSync(join(folder, "kept.json"), "utf8"))).toEqual(second);
  // The plant began anew, under an identity of its own.
  const anew = fixturePlant({ plant: "acme", gateways: [] }).register;
  write(anew);
  using registry = open({ plants: [{ ...plants[0]!, identity: identityHash(anew.identity) }] });
  expect(serialOf(registry)).toBe(1);
});

it("does not start without a register of each plant, nor with two of one", () => {
  expect(codeOf(() => open())).toBe("FILE_MISSING");
  write(other.register);
  expect(codeOf(() => open())).toBe("SIGNATURE_INVALID");
  write(first);
  write(first, "again.json");
  const plants = ["acme.json", "again.json"].map((register) => ({ register, identity }));
  expect(codeOf(() => open({ plants }))).toBe("CONFIG_INVALID");
});

it("records what it took and refused, before it comes into force", () => {
  write(first);
  const path = join(folder, "audit.db");
  using audit = openAuditLog({ path, actor: "test" });
  {
    using registry = open({ audit });
    write(second);
    registry.poll();
    write(first);
    registry.poll();
  }
  open({ audit })[Symbol.dispose]();
  expect([...readAudit(path)].map(({ action, facts }) => [action, facts])).toEqual([
    ["register-taken", { plant: "acme", serial: 1, identity, gateways: 1, keys: 0 }],
    ["register-taken", { plant: "acme", serial: 2, identity, gateways: 0, keys: 0 }],
    ["register-refused", { plant: "acme", code: "REGISTER_STALE", inForce: 2 }],
    ["register-refused", { plant: "acme", code: "REGISTER_STALE", inForce: 2 }],
  ]);
});

it("tries again what may pass: an audit log that cannot be written holds a register back, and no more", () => {
  write(first);
  let full = false;
  const audit = {
    append() {
      if (full) throw new PipelineError("STORE_UNAVAILABLE", "the disk is full");
    },
    head: () => "",
    [Symbol.dispose]() {},
  };
  using registry = open({ audit });
  write(second);
  full = true;
  registry.poll();
  expect([serialOf(registry), registry.counters.refused]).toEqual([1, {}]);
  full = false;
  registry.poll();
  expect(serialOf(registry)).toBe(2);
});

it("gives its figures to Prometheus", async () => {
  write(first);
  using registry = open();
  write(second);
  registry.poll();
  write(first);
  registry.poll();
  const metrics = new Metrics();
  metrics.add(plantRegistryMetrics(registry));
  expect(await metrics.figures()).toEqual([
    { name: "smile_plant_register_serial", labels: { plant: "acme" }, value: 2 },
    { name: "smile_plant_registers_taken_total", labels: {}, value: 2 },
    { name: "smile_plant_registers_refused_total", labels: { code: "REGISTER_STALE" }, value: 1 },
  ]);
});

it("takes a configuration with a register and an identity each", () => {
  expect(PlantsConfig.safeParse([{ register: "r.json", identity }]).success).toBe(true);
  for (const wrong of [[], [{ register: "r.json" }], [{ register: "r.json", identity: "ab" }], [{ register: "r.json", identity, more: 1 }]])
    expect(PlantsConfig.safeParse(wrong).success).toBe(false);
});

it("changes a fixed registry only by replace", () => {
  using registry = new FixedRegistry([first]);
  let changes = 0;
  registry.onChange(() => changes++);
  expect(registry.refresh("acme")?.register.serial).toBe(1);
  registry.replace(second);
  expect([serialOf(registry), changes]).toEqual([2, 1]);
});
