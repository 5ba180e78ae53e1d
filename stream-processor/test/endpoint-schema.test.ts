import { WITHOUT_TLS } from "@smile/runtime/tls-config";
import { expect, it } from "vitest";
import { endpointSchema } from "../src/endpoint-schema.ts";

const schema = endpointSchema({ port: 1883, clientId: "smile-ingress", maxPacketBytes: 5000 });

it("listens on this machine only when nothing is said, with limits", () => {
  expect(schema.parse(undefined)).toEqual({
    host: "127.0.0.1",
    port: 1883,
    limits: { maxPacketBytes: 5000, maxConnections: 256, maxConnectionsPerPlant: 64 },
  });
  expect(schema.parse({ port: 0, maxPacketBytes: 1 << 20 })).toMatchObject({ port: 0, limits: { maxPacketBytes: 1 << 20 } });
});

it("takes a broker elsewhere in its place", () => {
  expect(schema.parse({ broker: "mqtt://localhost:1883" })).toEqual({ broker: "mqtt://localhost:1883", clientId: "smile-ingress" });
  expect(schema.parse({ broker: "mqtts://broker.example", clientId: "a" })).toEqual({ broker: "mqtts://broker.example", clientId: "a" });
});

it("takes certificates, and a broker elsewhere with an authority of its own", () => {
  const tls = { certificate: "c.pem", key: "k.pem" };
  expect(schema.parse({ host: "0.0.0.0", tls })).toMatchObject({ host: "0.0.0.0", tls });
  const external = { broker: "mqtts://broker.example", tls: { ...tls, authority: "a.pem" } };
  expect(schema.parse(external)).toEqual({ ...external, clientId: "smile-ingress" });
  expect(schema.parse({ host: "0.0.0.0", withoutTls: WITHOUT_TLS })).toMatchObject({ withoutTls: WITHOUT_TLS });
});

it.each([
  [{ broker: "mqtt://b", port: 1 }, "port"],
  [{ broker: "mqtt://b", host: "a" }, "host"],
  [{ broker: "mqtt://b", maxPacketBytes: 2000 }, "maxPacketBytes"],
  [{ clientId: "a" }, "clientId"],
  [{ broker: "http://b" }, "broker"],
  [{ broker: "mqtt://user:secret@b" }, "broker"],
  [{ maxPacketBytes: 1 }, "maxPacketBytes"],
  [{ tls: { certificate: "c" } }, "tls.key"],
  [{ tls: { certificate: "c", key: "k", authority: "a" } }, "tls.authority"],
  [{ tls: { certificate: "c", key: "k" }, withoutTls: WITHOUT_TLS }, "withoutTls"],
  [{ withoutTls: "yes" }, "withoutTls"],
  [{ broker: "mqtt://b", tls: { certificate: "c", key: "k" } }, "tls"],
])("refuses %j and names the key", (given, key) => {
  const issues = schema.safeParse(given).error?.issues ?? [];
  expect(issues.map(({ path }) => path.join("."))).toEqual([key]);
  expect(JSON.stringify(issues)).not.toContain("secret");
});
