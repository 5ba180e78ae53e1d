import { defaultBrokerLimits } from "@smile/runtime/mqtt-broker";
import { z } from "zod";
import type { Endpoint } from "./endpoint.ts";

/** A secret in a URL ends up in log lines. */
const brokerUrl = z.url({ protocol: /^mqtts?$/, error: "must be mqtt://host:port or mqtts://host:port" }).refine((url) => {
  const { username, password } = new URL(url);
  return username === "" && password === "";
}, "must not hold a name or password");

/** An `Endpoint` in a configuration file: `{broker, clientId}` for a broker elsewhere; otherwise where the one in this process listens. */
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
      broker: brokerUrl.optional(),
      clientId: z.string().min(1).max(64).optional(),
    })
    .superRefine(({ broker, clientId, ...own }, issues) => {
      if (broker === undefined && clientId !== undefined)
        issues.addIssue({ code: "custom", path: ["clientId"], message: "means something with broker only" });
      for (const [key, value] of Object.entries(own)) {
        if (broker !== undefined && value !== undefined)
          issues.addIssue({ code: "custom", path: [key], message: "means nothing with broker: that one decides" });
      }
    })
    .transform(({ broker, clientId = defaults.clientId, ...own }): Endpoint => {
      if (broker !== undefined) return { broker, clientId };
      const { host = "127.0.0.1", port = defaults.port } = own;
      const { maxPacketBytes = defaults.maxPacketBytes, maxConnections = defaultBrokerLimits.maxConnections } = own;
      return { host, port, limits: { maxPacketBytes, maxConnections } };
    })
    .prefault({});
}
