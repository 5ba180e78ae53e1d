import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAuthority } from "@smile/identity/authority";
import { readAudit } from "@smile/runtime/audit-log";
import { identityHash } from "@smile/schemas/plant-register";
import { describe, expect, it } from "vitest";
import { readKeystore } from "../../src/keystore.ts";
import { addGateway } from "../../src/plant/gateways.ts";
import { initPlant } from "../../src/plant/init-plant.ts";
import { PlantSecrets } from "../../src/plant/plant-document.ts";
import { plantStatus } from "../../src/plant/plant-status.ts";
import { useService } from "../../src/plant/service-file.ts";
import { readSealed } from "../../src/sealed-file.ts";
import { newPlant, START_MS, serviceDocument } from "./new-plant.ts";

const days = 730;

/** Every file below a folder with its text; databases as they are. */
function filesOf(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => statSync(join(folder, path)).isFile());
  return new Map(files.map((path) => [path, readFileSync(join(folder, path), "latin1")]));
}

describe("a new plant", () => {
  it("signs its register under the identity that the operator is told, and seals every secret of the plant", async () => {
    using plant = await newPlant();
    const { identity, serial } = plant.registered().register;
    expect([identityHash(identity), serial]).toEqual([plant.identityHash, 1]);
    const open = ["certificate.pem", "deployment.json", "plant-console.json", "register.json", "service.json"];
    for (const path of filesOf(plant.folder).keys()) {
      const isPublic = open.some((name) => path.endsWith(name));
      expect(statSync(join(plant.folder, path)).mode & 0o077, path).toBe(isPublic ? 0o044 : 0);
    }
  });

  it("shows no machine and no secret outside of the files that are for them", async () => {
    using plant = await newPlant();
    await addGateway(plant.at(1), { gateway: "hall-1", machines: ["Presse 7 (Müller)", "press-eight"], days });
    const { passphrase } = plant.at(0);
    const secrets = await readSealed(join(plant.folder, "secrets.json"), "plant-secrets", PlantSecrets, passphrase);
    const { keys } = await readKeystore(join(plant.folder, "keystore.json"), passphrase);
    const middle = (pem: string) => pem.split("\n")[1]!;
    const sealed = [passphrase, secrets.identityKey, middle(secrets.authority!.key), keys[0]!.secretKey.slice(0, 60)];
    const gateway = plant.json<{ secretKey: string }>("gateways", "hall-1", "signing-key.json").secretKey;
    for (const [path, text] of filesOf(plant.folder)) {
      for (const secret of sealed) expect(text.includes(secret), path).toBe(false);
      expect(text.includes(gateway), path).toBe(path.endsWith("signing-key.json"));
      const names = ["plant.json", "console/leases.json", "gateways/hall-1/lease.json"];
      for (const machine of ["Presse 7", "press-eight"]) expect(text.includes(machine), path).toBe(names.includes(path));
    }
  });

  it("is not made twice in a folder, nor beside what is left of one", async () => {
    using plant = await newPlant();
    const before = filesOf(plant.folder);
    const again = { plant: "north", deployment: join(plant.folder, "deployment.json"), tls: true, days };
    const refused = (says: string) => ({ code: "CONFIG_INVALID", message: expect.stringContaining(says) });
    await expect(initPlant(plant.at(1), again)).rejects.toMatchObject(refused("holds a plant already"));
    expect(filesOf(plant.folder)).toEqual(before);
    const elsewhere = { ...plant.at(1), folder: join(plant.outside, "south") };
    for (const [name, options] of [
      ["north/2", again],
      ["north", { ...again, authority: join(plant.folder, "deployment.json") }],
    ] as const)
      await expect(initPlant(elsewhere, { ...options, plant: name })).rejects.toThrow();
    await expect(initPlant({ ...elsewhere, passphrase: "" }, again)).rejects.toMatchObject({ code: "PASSPHRASE_MISSING" });
    expect(existsSync(elsewhere.folder) ? readdirSync(elsewhere.folder) : []).toEqual(["plant.lock"]);
    writeFileSync(join(elsewhere.folder, "keystore.json"), "{}");
    await expect(initPlant(elsewhere, again)).rejects.toMatchObject(refused("keystore.json stands there"));
  });

  it("is whole when two make it at once: one is told to come again, and clears nothing away", async () => {
    using plant = await newPlant();
    const access = { ...plant.at(1), folder: join(plant.outside, "south") };
    const options = { plant: "south", deployment: join(plant.folder, "deployment.json"), tls: true, days };
    const both = await Promise.allSettled([initPlant(access, options), initPlant(access, options)]);
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    await addGateway(access, { gateway: "hall-1", machines: ["a"], days });
  });

  it("without TLS has no certificates, and says so in configurations that lead beyond this machine", async () => {
    const urls = { framesUrl: "mqtt://smile.example.org:1883", scoresUrl: "mqtt://smile.example.org:1884" };
    using plant = await newPlant({ tls: false, service: urls });
    const { folder } = await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
    expect(plant.registered().register).toMatchObject({ certificateAuthority: null, consoles: [] });
    expect(readdirSync(folder).filter((file) => file.endsWith(".pem"))).toEqual([]);
    const withoutTls = expect.stringContaining("anyone on this network");
    expect(plant.json("gateways", "hall-1", "edge-agent.json")).toMatchObject({ mqtt: { url: urls.framesUrl }, withoutTls });
    expect(plant.json("console", "plant-console.json")).toMatchObject({ mqtt: { url: urls.scoresUrl }, withoutTls });
    using near = await newPlant({ tls: false });
    expect(near.json("console", "plant-console.json")).not.toHaveProperty("withoutTls");
  });

  it("refuses a service that it could not connect to as it is", async () => {
    const beyond = { framesUrl: "mqtt://smile.example.org:1883" };
    await expect(newPlant({ service: beyond })).rejects.toMatchObject({ code: "TLS_REQUIRED" });
    await expect(newPlant({ tls: false, service: { framesUrl: "mqtts://a:1" } })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});

describe("the service's document", () => {
  it("may come later, and reaches console and gateways without touching what else was configured", async () => {
    using plant = await newPlant({ service: null });
    await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
    expect(plant.json("gateways", "hall-1", "edge-agent.json")).toMatchObject({ mqtt: { url: "mqtt://127.0.0.1:1883" } });
    expect(plant.json("console", "plant-console.json")).toMatchObject({ mqtt: { url: "mqtt://127.0.0.1:1884" } });
    expect(plantStatus(plant.folder, START_MS).todo).toEqual([expect.stringContaining("use-service")]);
    const configured = { ...plant.json("gateways", "hall-1", "edge-agent.json"), lingerMs: 50, mqtt: { url: "mqtt://a", window: 3 } };
    const path = join(plant.folder, "gateways/hall-1/edge-agent.json");
    writeFileSync(path, JSON.stringify(configured));
    chmodSync(path, 0o600); // as whoever put a token into it

    const authority = await createAuthority({ name: "operator", days: 1000 });
    const service = serviceDocument({ certificateAuthority: authority.certificate });
    writeFileSync(join(plant.outside, "service.json"), JSON.stringify(service));
    await useService(plant.at(2), join(plant.outside, "service.json"));
    const tls = { certificate: "certificate.pem", key: "key.pem", authority: "authority.pem" };
    expect(plant.json("gateways", "hall-1", "edge-agent.json")).toEqual({
      ...configured,
      service: "service.json",
      mqtt: { url: service.framesUrl, window: 3 },
      tls,
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(plant.json("console", "plant-console.json")).toMatchObject({
      mqtt: { url: service.scoresUrl },
      tls,
      service: "../service.json",
    });
    for (const folder of ["console", "gateways/hall-1"])
      expect(readFileSync(join(plant.folder, folder, "authority.pem"), "utf8")).toBe(authority.certificate);
    expect(plant.json("gateways", "hall-1", "service.json")).toEqual(service);
    expect(plantStatus(plant.folder, START_MS).todo).toEqual([]);
    expect([...readAudit(join(plant.folder, "audit.db"))].map(({ action }) => action)).toContain("score-signers-pinned");
  });
});

it("a status warns a month before a certificate ends", async () => {
  using plant = await newPlant();
  const end = START_MS + days * 86_400_000;
  expect(plantStatus(plant.folder, end - 31 * 86_400_000).todo).toEqual([]);
  expect(plantStatus(plant.folder, end - 29 * 86_400_000).todo).toEqual([expect.stringContaining("renew-console")]);
});
