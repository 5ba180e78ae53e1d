import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificateHash, checkCertificate } from "@smile/identity/check-certificate";
import { publicHalf, signingKey } from "@smile/schemas/ed25519";
import { MOST_SIGNERS } from "@smile/schemas/registered-plant";
import type { SigningKey } from "@smile/schemas/signing-key";
import { describe, expect, it } from "vitest";
import { activateCredential, renewConsole } from "../../src/plant/client-credentials.ts";
import { exportPublic } from "../../src/plant/export-public.ts";
import { addGateway, renewGateway, revokeGateway } from "../../src/plant/gateways.ts";
import { activateKeys, rotateKeys } from "../../src/plant/key-rotation.ts";
import type { PlantDocument } from "../../src/plant/plant-document.ts";
import { lockPlant } from "../../src/plant/plant-lock.ts";
import { plantStatus } from "../../src/plant/plant-status.ts";
import { DAY_MS, type NewPlant, newPlant, START_MS } from "./new-plant.ts";

const days = 730;
const pem = (plant: NewPlant, ...path: string[]) => readFileSync(join(plant.folder, ...path), "utf8");
const signer = (plant: NewPlant, ...path: string[]) => plant.json<SigningKey>("gateways", ...path, "signing-key.json").publicKey;
const signers = (plant: NewPlant, gateway: string, day: number) =>
  plant
    .registered()
    .signersAt(gateway, START_MS + day * DAY_MS)
    .map(publicHalf);
const refused = (says: string) => ({ code: "CONFIG_INVALID", message: expect.stringContaining(says) });

describe("adding gateways", () => {
  it("leases the next free lanes, one per machine, and never the same again", async () => {
    using plant = await newPlant();
    await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a", "b", "c"], days });
    await addGateway(plant.at(1), { gateway: "hall-2", machines: ["d"], days });
    await revokeGateway(plant.at(2), { gateway: "hall-2", retainMs: 0 });
    await addGateway(plant.at(3), { gateway: "hall-3", machines: ["d", "e"], days });
    const register = plant.registered();
    expect(["hall-1", "hall-2", "hall-3"].map((gateway) => register.lanesOf(gateway))).toEqual([
      { first: 0, count: 3 },
      { first: 3, count: 1 },
      { first: 4, count: 2 },
    ]);
    // The console reads the leases of those that may still send: a machine has one lane.
    expect(plant.json("console", "leases.json")).toEqual([
      { gateway: "hall-1", firstLane: 0, machines: ["a", "b", "c"] },
      { gateway: "hall-3", firstLane: 4, machines: ["d", "e"] },
    ]);
  });

  it("registers the signing key and the certificate that lie in the gateway's folder, secrets for the owner alone", async () => {
    using plant = await newPlant();
    const { folder } = await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
    expect(signers(plant, "hall-1", 1)).toEqual([signer(plant, "hall-1")]);
    const certificate = pem(plant, "gateways", "hall-1", "certificate.pem");
    expect(plant.registered().peerAt(certificateHash(certificate), START_MS)).toEqual({ plant: "north", role: "gateway", name: "hall-1" });
    const authority = plant.registered().register.certificateAuthority!;
    const key = pem(plant, "gateways", "hall-1", "key.pem");
    checkCertificate(certificate, { plant: "north", role: "gateway", name: "hall-1", authority, key, nowMs: START_MS + DAY_MS });
    const secret = ["key.pem", "lease.json", "signing-key.json"];
    for (const file of readdirSync(folder)) expect(statSync(join(folder, file)).mode & 0o077, file).toBe(secret.includes(file) ? 0 : 0o044);
  });

  it("refuses a name and a machine that is taken, and leaves nothing of it", async () => {
    using plant = await newPlant();
    await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
    const before = pem(plant, "register.json");
    const wrong: [gateway: string, machines: string[], says: string][] = [
      ["hall-1", ["b"], "was added already"],
      ["hall-2", ["a"], "machine a is gateway hall-1's"],
      ["hall-2", ["b", "b"], "machine b is named twice"],
      ["hall-2", [], "names of its machines"],
      ["../hall-2", ["b"], "a name has"],
    ];
    for (const [gateway, machines, says] of wrong)
      await expect(addGateway(plant.at(2), { gateway, machines, days })).rejects.toMatchObject(refused(says));
    expect(pem(plant, "register.json")).toBe(before);
    expect(readdirSync(join(plant.folder, "gateways"))).toEqual(["hall-1"]);
    await expect(renewGateway(plant.at(2), { gateway: "hall-9", days })).rejects.toMatchObject(refused("has no gateway"));
  });

  it("in symmetric mode makes each gateway a key of its own", async () => {
    using plant = await newPlant({ keyMode: "symmetric" });
    await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
    await addGateway(plant.at(1), { gateway: "hall-2", machines: ["b"], days });
    const keys = plant.registered().register.keys.map(({ gateway, keyId }) => [gateway, keyId]);
    const files = ["hall-1", "hall-2"].map((gateway) => plant.json<{ keyId: string }>("gateways", gateway, "gateway-key.json").keyId);
    expect(keys.sort()).toEqual([
      ["hall-1", files[0]],
      ["hall-2", files[1]],
    ]);
    expect(statSync(join(plant.folder, "gateways/hall-1/gateway-key.json")).mode & 0o777).toBe(0o600);
    await revokeGateway(plant.at(2), { gateway: "hall-1", retainMs: DAY_MS });
    const { keyAt, keyEver } = { keyAt: plant.registered(), keyEver: plant.registered() };
    const { paramsId, keyId } = plant.registered().register.keys.find(({ gateway }) => gateway === "hall-1")!;
    expect(keyAt.keyAt(paramsId, keyId, START_MS + 2 * DAY_MS)).toBeUndefined();
    expect(keyEver.keyEver(paramsId, keyId)?.gateway).toBe("hall-1");
  });
});

describe("renewing", () => {
  it("registers the new credential at once, hands it over when it is activated, and lets the old one count until then and a while on", async () => {
    using plant = await newPlant();
    await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
    const old = signer(plant, "hall-1");
    const oldCertificate = certificateHash(pem(plant, "gateways", "hall-1", "certificate.pem"));
    await renewGateway(plant.at(10), { gateway: "hall-1", days });
    const fresh = signer(plant, "hall-1", "next");
    expect(signer(plant, "hall-1")).toBe(old);
    expect(signers(plant, "hall-1", 10)).toEqual([old, fresh]);
    expect(plantStatus(plant.folder, START_MS).todo).toEqual([expect.stringContaining("activate-gateway hall-1")]);

    await activateCredential(plant.at(11), { client: { role: "gateway", name: "hall-1" }, retainMs: 5 * DAY_MS });
    expect(signer(plant, "hall-1")).toBe(fresh);
    expect(existsSync(join(plant.folder, "gateways/hall-1/next"))).toBe(false);
    expect(signers(plant, "hall-1", 15)).toEqual([old, fresh]);
    expect(signers(plant, "hall-1", 16)).toEqual([fresh]);
    expect(plant.registered().signersEver("hall-1").map(publicHalf)).toEqual([old, fresh]);
    const certificate = certificateHash(pem(plant, "gateways", "hall-1", "certificate.pem"));
    expect(plant.registered().peerAt(certificate, START_MS + 16 * DAY_MS)?.name).toBe("hall-1");
    expect(plant.registered().peerAt(oldCertificate, START_MS + 16 * DAY_MS)).toBeUndefined();
    // The key in the folder is the one that was registered.
    expect(publicHalf(signingKey(plant.json<SigningKey>("gateways", "hall-1", "signing-key.json").secretKey))).toBe(fresh);
  });

  it("renews once more while one waits: the one that waited is dropped", async () => {
    using plant = await newPlant();
    await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
    const old = signer(plant, "hall-1");
    await renewGateway(plant.at(1), { gateway: "hall-1", days });
    await renewGateway(plant.at(2), { gateway: "hall-1", days });
    expect(signers(plant, "hall-1", 2)).toEqual([old, signer(plant, "hall-1", "next")]);
  });

  it("does not hand over what a renewal left that was killed before it was registered", async () => {
    using plant = await newPlant();
    await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
    const activate = () => activateCredential(plant.at(2), { client: { role: "gateway", name: "hall-1" }, retainMs: DAY_MS });
    await renewGateway(plant.at(1), { gateway: "hall-1", days });
    const before = ["plant.json", "register.json"].map((file) => [file, pem(plant, file)] as const);
    await renewGateway(plant.at(1), { gateway: "hall-1", days });
    for (const [file, text] of before) writeFileSync(join(plant.folder, file), text);
    const old = signer(plant, "hall-1");
    await expect(activate()).rejects.toMatchObject(refused("renew it once more"));
    expect(signer(plant, "hall-1")).toBe(old);
    await renewGateway(plant.at(2), { gateway: "hall-1", days });
    await activate();
    expect(signers(plant, "hall-1", 2)).toEqual([old, signer(plant, "hall-1")]);
  });

  it("refuses more keys than the service counts at once", async () => {
    using plant = await newPlant({ tls: false });
    await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
    const client = { role: "gateway", name: "hall-1" } as const;
    for (let day = 1; day < MOST_SIGNERS; day += 1) {
      await renewGateway(plant.at(day), { gateway: "hall-1", days });
      await activateCredential(plant.at(day), { client, retainMs: 30 * DAY_MS });
    }
    await expect(renewGateway(plant.at(9), { gateway: "hall-1", days })).rejects.toMatchObject(refused("after 2027-02-01"));
    await renewGateway(plant.at(31), { gateway: "hall-1", days });
    expect(signers(plant, "hall-1", 31)).toHaveLength(MOST_SIGNERS);
  });

  it("ends an activation that a crash cut short", async () => {
    using plant = await newPlant();
    await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
    await renewGateway(plant.at(1), { gateway: "hall-1", days });
    const fresh = signer(plant, "hall-1", "next");
    const before = ["plant.json", "register.json"].map((file) => [file, pem(plant, file)] as const);
    const activation = { client: { role: "gateway", name: "hall-1" }, retainMs: DAY_MS } as const;
    await activateCredential(plant.at(2), activation);
    // As if the files had been moved, and nothing of it been written down.
    for (const [file, text] of before) writeFileSync(join(plant.folder, file), text);
    await activateCredential(plant.at(2), activation);
    expect(signer(plant, "hall-1")).toBe(fresh);
    expect(plant.json<PlantDocument>("plant.json").gateways[0]!.credentials.map(({ state }) => state)).toEqual(["retiring", "active"]);
  });

  it("renews the console's certificate in the same two steps", async () => {
    using plant = await newPlant();
    const old = certificateHash(pem(plant, "console", "certificate.pem"));
    await renewConsole(plant.at(1), { console: "console", days });
    const fresh = certificateHash(pem(plant, "console", "next", "certificate.pem"));
    const peers = (day: number) => [old, fresh].map((hash) => plant.registered().peerAt(hash, START_MS + day * DAY_MS)?.role);
    expect(peers(1)).toEqual(["console", "console"]);
    await activateCredential(plant.at(2), { client: { role: "console", name: "console" }, retainMs: DAY_MS });
    expect(certificateHash(pem(plant, "console", "certificate.pem"))).toBe(fresh);
    expect(peers(3)).toEqual([undefined, "console"]);
  });
});

describe("revoking", () => {
  it("ends every key and certificate of a gateway, the one that waits included, and of no other", async () => {
    using plant = await newPlant();
    await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
    await addGateway(plant.at(0), { gateway: "hall-2", machines: ["b"], days });
    await renewGateway(plant.at(1), { gateway: "hall-1", days });
    const certificate = certificateHash(pem(plant, "gateways", "hall-1", "certificate.pem"));
    await revokeGateway(plant.at(2), { gateway: "hall-1", retainMs: 0 });
    const register = plant.registered();
    expect(register.signersEver("hall-1")).toEqual([]);
    expect(register.peerAt(certificate, START_MS)).toBeUndefined();
    expect(signers(plant, "hall-2", 2)).toEqual([signer(plant, "hall-2")]);
    await expect(revokeGateway(plant.at(3), { gateway: "hall-1", retainMs: 0 })).rejects.toMatchObject(refused("was revoked"));
    await expect(renewGateway(plant.at(3), { gateway: "hall-1", days })).rejects.toMatchObject(refused("was revoked"));
  });
});

describe("crashes and neighbours", () => {
  it("adds a gateway again whose folder and key were made, but which plant.json does not name", async () => {
    using plant = await newPlant({ keyMode: "symmetric" });
    const files = ["plant.json", "console/leases.json"].map((file) => [file, pem(plant, file)] as const);
    await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
    const keyId = plant.json<{ keyId: string }>("gateways", "hall-1", "gateway-key.json").keyId;
    for (const [file, text] of files) writeFileSync(join(plant.folder, file), text);
    const { serial } = await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
    // The register that was written before the crash may have been given to the service: the next one follows it.
    expect(serial).toBe(3);
    expect(plant.json<{ keyId: string }>("gateways", "hall-1", "gateway-key.json").keyId).toBe(keyId);
    expect(signers(plant, "hall-1", 1)).toEqual([signer(plant, "hall-1")]);
  });

  it("lets one of two changes at a time win; the other is told to come again", async () => {
    using plant = await newPlant();
    const both = await Promise.allSettled(
      ["hall-1", "hall-2"].map((gateway) => addGateway(plant.at(1), { gateway, machines: [gateway], days })),
    );
    const won = both.filter(({ status }) => status === "fulfilled");
    const lost = both.find((each) => each.status === "rejected");
    expect(won).toHaveLength(1);
    expect(lost?.reason).toMatchObject(refused("another command is changing the plant"));
    expect(plant.registered().register.gateways).toHaveLength(1);
  });

  it("waits for no lock of a command that was killed, and for that of one that runs", async () => {
    using plant = await newPlant();
    const module = new URL("../../src/plant/plant-lock.ts", import.meta.url).href;
    const script = `globalThis.held = (await import(${JSON.stringify(module)})).lockPlant(process.argv[1]); console.log("holds it"); setInterval(() => {}, 1e6);`;
    const other = spawn(process.execPath, ["--input-type=module", "--eval", script, plant.folder], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await once(other.stdout, "data");
      const add = () => addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
      await expect(add()).rejects.toMatchObject(refused("another command is changing the plant"));
      other.kill("SIGKILL");
      await once(other, "exit");
      await add();

      // A second attempt of the process that holds it takes the lock from nobody.
      using _held = lockPlant(plant.folder);
      expect(() => lockPlant(plant.folder)).toThrow("another command is changing the plant");
      const third = spawnSync(process.execPath, ["--input-type=module", "--eval", script, plant.folder], {
        encoding: "utf8",
        timeout: 30_000,
      });
      expect([third.status, third.stderr]).toEqual([1, expect.stringContaining("another command is changing the plant")]);
    } finally {
      other.kill("SIGKILL");
    }
  });

  it("does not take the keys or the identity of another plant, though the passphrase fits", async () => {
    using plant = await newPlant();
    using other = await newPlant();
    cpSync(join(other.folder, "secrets.json"), join(plant.folder, "secrets.json"));
    await expect(exportPublic(plant.at(1))).rejects.toMatchObject({
      code: "DOCUMENT_INVALID",
      message: expect.stringContaining("secrets.json"),
    });
  });

  it("hands new keys out where a gateway's folder was moved away", async () => {
    using plant = await newPlant();
    const { folder } = await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
    await rotateKeys(plant.at(2));
    rmSync(folder, { recursive: true });
    const { keyEpoch } = await activateKeys(plant.at(3), { retainMs: DAY_MS });
    expect([keyEpoch, readdirSync(folder)]).toEqual([2, ["public-key.json", "register.json"]]);
  });

  it("tells a folder that is no plant's from one whose files are gone", async () => {
    using plant = await newPlant();
    const nowhere = { ...plant.at(1), folder: plant.outside };
    await expect(addGateway(nowhere, { gateway: "hall-1", machines: ["a"], days })).rejects.toMatchObject({
      code: "FILE_MISSING",
      message: expect.stringContaining("smile plant init"),
    });
    rmSync(join(plant.folder, "secrets.json"));
    await expect(addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days })).rejects.toMatchObject({ code: "FILE_MISSING" });
  });
});
