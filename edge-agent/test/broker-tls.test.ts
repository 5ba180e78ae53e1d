import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAuthority } from "@smile/identity/authority";
import type { CertificateAndKey } from "@smile/identity/certify";
import { certificateHash } from "@smile/identity/check-certificate";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { silentLogger } from "@smile/runtime/logging";
import { Metrics } from "@smile/runtime/metrics";
import { startBroker } from "@smile/runtime/mqtt-broker";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { WITHOUT_TLS } from "@smile/runtime/tls-config";
import { fixedTls } from "@smile/runtime/tls-files";
import { publicHalf } from "@smile/schemas/ed25519";
import { expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { openBrokerTls } from "../src/broker-tls.ts";
import { keyMetrics } from "../src/metrics.ts";
import { openMqttFrameSender } from "../src/mqtt-frame-sender.ts";
import { RowQueue } from "../src/row-queue.ts";
import { startEdgeAgent } from "../src/service.ts";
import { agentConfig, contentOf, expectedContent, newFolder, type OpenedFrame, openFrame, signingKey, someRows } from "./fixture.ts";

const logger = silentLogger();
const [service, plantAuthority, stranger] = await Promise.all(["service", "plant", "x"].map((name) => createAuthority({ name, days: 3 })));
const gateway = { plant: "plant", role: "gateway", name: "gateway-1" } as const;
const certificates = await Promise.all([2, 1].map((days) => issueClientCertificate(plantAuthority!, { ...gateway, days })));
const server = await issueServerCertificate(service!, { hosts: ["127.0.0.1"], days: 2 });

const plant = fixturePlant({ plant: "plant", gateways: [] });
const active = { state: "active" as const, untilMs: null };
const register = plant.next({
  certificateAuthority: plantAuthority!.certificate,
  gateways: [
    {
      gateway: "gateway-1",
      lanes: { first: 0, count: 100 },
      credentials: certificates.map(({ certificate }) => ({
        signingKey: publicHalf(signingKey),
        certificateHash: certificateHash(certificate),
        ...active,
      })),
    },
  ],
});

function put(folder: string, { certificate, key }: CertificateAndKey): void {
  writeFileSync(join(folder, "certificate.pem"), certificate);
  writeFileSync(join(folder, "key.pem"), key, { mode: 0o600 });
}

const settings = { certificate: "certificate.pem", key: "key.pem" };

it("delivers every window once over TLS, by the authority of the service's document, while its certificate is renewed", async () => {
  const frames = new Map<string, OpenedFrame>();
  const enough = Promise.withResolvers<void>();
  await using broker = await startBroker({
    port: 0,
    logger,
    tls: { credentials: fixedTls(server), registry: new FixedRegistry([register]) },
    authorizePublish: async ({ peer, payload }) => {
      expect(peer).toEqual(gateway);
      const frame = openFrame(payload);
      frames.set(frame.id, frame);
      if (frames.size === 5) enough.resolve();
    },
  });
  const folder = newFolder();
  put(folder, certificates[0]!);
  using tls = openBrokerTls({ settings, folder, authority: service!.certificate, logger });
  const reconnectMs = { first: 5, last: 20 };
  let connections = 0;
  const source = new RowQueue({ capacity: 8, largestBatch: 4 });
  const openSender = async (onConnected: () => void) =>
    openMqttFrameSender({
      ...{ url: broker.url, plant: "plant", gateway: "gateway-1", logger, tls, reconnectMs },
      onConnected: () => {
        connections++;
        onConnected();
      },
    });
  await using agent = await startEdgeAgent(agentConfig(join(newFolder(), "edge.db"), { window: 4 }), { source, openSender }, logger);
  const rows = someRows(40);
  for (const row of rows.slice(0, 120)) await source.push(row);
  await enough.promise;

  const remaining = async () => {
    const metrics = new Metrics();
    metrics.add(keyMetrics({}, tls));
    const figures = await metrics.figures();
    return figures.map(({ name, labels, value }) => [name, labels.files, Math.round(value / 3600)]);
  };
  const name = "smile_edge_agent_certificate_remaining_seconds";
  expect(await remaining()).toContainEqual([name, undefined, 48]);
  put(folder, certificates[1]!);
  tls.reread();
  expect(tls.renewals).toBe(1);
  expect(await remaining()).toContainEqual([name, undefined, 24]);

  for (const row of rows.slice(120)) await source.push(row);
  source.end();
  await agent.done;
  expect(connections).toBe(2);
  expect(contentOf(frames.values())).toEqual(expectedContent(rows));
  expect(agent.counters.published).toBe(frames.size);
});

it("believes the authority of its own settings before that of the service's document", () => {
  const folder = newFolder();
  put(folder, certificates[0]!);
  writeFileSync(join(folder, "authority.pem"), stranger!.certificate);
  const authority = service!.certificate;
  using own = openBrokerTls({ settings: { ...settings, authority: "authority.pem" }, folder, authority, logger });
  using told = openBrokerTls({ settings, folder, authority, logger });
  using system = openBrokerTls({ settings, folder, authority: null, logger });
  expect(() => openBrokerTls({ settings, folder, authority: "no PEM", logger })).toThrow("[DOCUMENT_INVALID]");
  expect([own, told, system].map(({ current }) => current.authority)).toEqual([stranger!.certificate, authority, undefined]);
});

it("connects beyond this machine only with TLS, or when told in so many words", async () => {
  const open = (withoutTls?: string) =>
    openMqttFrameSender({ url: "mqtt://192.0.2.1:1883", plant: "plant", gateway: "gateway-1", logger, withoutTls });
  expect(() => open()).toThrow("[TLS_REQUIRED]");
  expect(() => open("yes")).toThrow("[TLS_REQUIRED]");
  await open(WITHOUT_TLS)[Symbol.asyncDispose]();
});
