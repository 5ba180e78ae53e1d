import "reflect-metadata";
import { createPublicKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { ExtendedKeyUsageExtension, Pkcs10CertificateRequest } from "@peculiar/x509";
import { createAuthority } from "@smile/identity/authority";
import { type CertificateAndKey, certify } from "@smile/identity/certify";
import { certificateHash } from "@smile/identity/check-certificate";
import { expect, it } from "vitest";
import { acceptCertificate, activateCredential } from "../../src/plant/client-credentials.ts";
import { addGateway, renewGateway } from "../../src/plant/gateways.ts";
import { plantStatus } from "../../src/plant/plant-status.ts";
import { newPlant, START_MS } from "./new-plant.ts";

const days = 730;
const corporate = await createAuthority({ name: "Corporate", days: 1000, nowMs: START_MS });
const hall1 = { role: "gateway", name: "hall-1" } as const;

/** What the plant's own authority does with a request. */
async function sign(request: string, issuer: CertificateAndKey): Promise<string> {
  const parsed = new Pkcs10CertificateRequest(request);
  expect(await parsed.verify()).toBe(true);
  return await certify({
    subject: parsed.subjectName.toJSON(),
    publicKey: createPublicKey({ key: Buffer.from(parsed.publicKey.rawData), format: "der", type: "spki" }),
    validity: { days: 300, nowMs: START_MS },
    extensions: [new ExtendedKeyUsageExtension(["1.3.6.1.5.5.7.3.2"])],
    issuer,
  });
}

it("asks a plant's own authority for every certificate, and takes none that is not what was asked for", async () => {
  using plant = await newPlant({ authority: corporate.key + corporate.certificate });
  const text = (...path: string[]) => readFileSync(join(plant.folder, ...path), "utf8");
  expect(plant.registered().register).toMatchObject({ certificateAuthority: corporate.certificate, consoles: [] });
  const { request } = await addGateway(plant.at(1), { gateway: "hall-1", machines: ["a"], days });
  expect(request).toBe(join(plant.folder, "gateways/hall-1/request.pem"));
  expect(statSync(join(plant.folder, "gateways/hall-1/key.pem")).mode & 0o777).toBe(0o600);
  // It may sign already; it has no certificate yet.
  expect(plant.registered().register.gateways[0]!.credentials).toMatchObject([{ certificateHash: null, state: "active" }]);
  expect(plantStatus(plant.folder, START_MS).todo).toHaveLength(2);

  const certificate = await sign(text("gateways/hall-1/request.pem"), corporate);
  const forConsole = await sign(text("console/request.pem"), corporate);
  const stranger = await createAuthority({ name: "Corporate", days: 1000, nowMs: START_MS });
  const wrong: [certificate: string, says: string][] = [
    [forConsole, "its subject must be"],
    [await sign(text("gateways/hall-1/request.pem"), stranger), "was not issued"],
    ["no certificate", "PEM"],
  ];
  for (const [each, says] of wrong)
    await expect(acceptCertificate(plant.at(1), { client: hall1, certificate: each })).rejects.toMatchObject({
      code: "CERTIFICATE_INVALID",
      message: expect.stringContaining(says),
    });
  await acceptCertificate(plant.at(1), { client: hall1, certificate });
  await acceptCertificate(plant.at(1), { client: { role: "console", name: "console" }, certificate: forConsole });
  expect(plant.registered().peerAt(certificateHash(certificate), START_MS)?.name).toBe("hall-1");
  expect(plant.registered().peerAt(certificateHash(forConsole), START_MS)?.role).toBe("console");
  expect(existsSync(request!)).toBe(false);
  expect(plantStatus(plant.folder, START_MS).todo).toEqual([]);
  await expect(acceptCertificate(plant.at(2), { client: hall1, certificate })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

it("renews by a request too: it is not activated before its certificate has come", async () => {
  using plant = await newPlant();
  await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
  const { request } = await renewGateway(plant.at(1), { gateway: "hall-1", days, request: true });
  const activation = { client: hall1, retainMs: 0 };
  await expect(activateCredential(plant.at(1), activation)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("accept-certificate"),
  });
  const certificate = await sign(readFileSync(request!, "utf8"), corporate);
  // Another authority than the plant's: it has to be named once.
  await expect(acceptCertificate(plant.at(1), { client: hall1, certificate })).rejects.toMatchObject({ code: "CERTIFICATE_INVALID" });
  await acceptCertificate(plant.at(1), { client: hall1, certificate, authority: corporate.certificate });
  await activateCredential(plant.at(2), activation);
  const installed = readFileSync(join(plant.folder, "gateways/hall-1/certificate.pem"), "utf8");
  expect(new X509Certificate(installed).issuer).toBe("CN=Corporate");
  expect(plant.registered().register.certificateAuthority!.match(/BEGIN/g)).toHaveLength(2);
});
