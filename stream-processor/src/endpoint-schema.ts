import type { Logger } from "@smile/runtime/logging";
import { defaultBrokerLimits } from "@smile/runtime/mqtt-broker";
import { tlsShape } from "@smile/runtime/tls-config";
import { watchTlsFiles } from "@smile/runtime/tls-files";
import { z } from "zod";
import type { Endpoint } from "./endpoint.ts";

/** A secret in a URL ends up in log lines. */
const brokerUrl = z.url({ protocol: /^mqtts?$/, error: "must be mqtt://host:port or mqtts://host:port" }).refine((url) => {
  const { username, password } = new URL(url);
  return username === "" && password === "";
}, "must not hold a name or password");

/** An `Endpoint` in a configuration file, its `tls` still paths: `{broker, clientId}` for a broker elsewhere; otherwise where the one in this process listens. */
export function endpointSchema(defaults: { readonly port: number; readonly clientId: string; readonly maxPacketBytes: number }) {
  return z
    .strictObject({
      host: z.string().min(1).optional(),
      port: z.number().int().min(0).max(65535).optional(),
      maxPacketBytes: z
        .number()
        .int()
        .min(1024)
        .max(1 << 24)
        .optional(),
      maxConnections: z.number().int().min(1).max(100_000).optional(),
      maxConnectionsPerPlant: z.number().int().min(1).max(100_000).optional(),
      broker: brokerUrl.optional(),
      clientId: z.string().min(1).max(64).optional(),
      ...tlsShape,
    })
    .superRefine(({ broker, clientId, tls, withoutTls, ...own }, issues) => {
      if (tls !== undefined && withoutTls !== undefined)
        issues.addIssue({ code: "custom", path: ["withoutTls"], message: "contradicts tls" });
      if (tls !== undefined && broker?.startsWith("mqtt:"))
        issues.addIssue({ code: "custom", path: ["tls"], message: "means something with mqtts:// only" });
      if (tls?.authority !== undefined && broker === undefined)
        issues.addIssue({ code: "custom", path: ["tls", "authority"], message: "means nothing here: the plants' registers name theirs" });
      if (broker === undefined && clientId !== undefined)
        issues.addIssue({ code: "custom", path: ["clientId"], message: "means something with broker only" });
      for (const [key, value] of Object.entries(own)) {
        if (broker !== undefined && value !== undefined)
          issues.addIssue({ code: "custom", path: [key], message: "means nothing with broker: that one decides" });
      }
    })
    .transform(({ broker, clientId = defaults.clientId, tls, withoutTls, ...own }) => {
      if (broker !== undefined) return { broker, clientId, tls, withoutTls };
      const { host = "127.0.0.1", port = defaults.port, maxPacketBytes = defaults.maxPacketBytes } = own;
      const { maxConnections = defaultBrokerLimits.maxConnections } = own;
      const { maxConnectionsPerPlant = defaultBrokerLimits.maxConnectionsPerPlant } = own;
      return { host, port, limits: { maxPacketBytes, maxConnections, maxConnectionsPerPlant }, tls, withoutTls };
    })
    .prefault({});
}

export type EndpointSettings = z.output<ReturnType<typeof endpointSchema>>;

/** The endpoint with its certificates, which are read again when they change. */
export function openEndpoint(
  settings: EndpointSettings,
  folder: string,
  what: string,
  logger: Logger,
): Disposable & { readonly endpoint: Endpoint } {
  const tls = settings.tls && watchTlsFiles({ settings: settings.tls, folder, what: `${what}.tls`, logger });
  return { endpoint: { ...settings, tls }, [Symbol.dispose]: () => tls?.[Symbol.dispose]() };
}
