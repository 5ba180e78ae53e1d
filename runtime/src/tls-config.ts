import { BlockList, isIP } from "node:net";
import { PipelineError } from "@smile/errors/pipeline-error";
import { z } from "zod";

/** The only value of `withoutTls`: whoever leaves TLS out beyond this machine says what that means. */
export const WITHOUT_TLS = "anyone on this network may read and change this traffic";

/** Section `tls` of a configuration: PEM files, relative to the configuration's folder. */
export const TlsSettings = z.strictObject({
  /** One's own certificate, and behind it those between it and its authority. */
  certificate: z.string().min(1),
  /** The secret key of that certificate, mode 0600. */
  key: z.string().min(1),
  /** Whom the other side's certificate must come from. */
  authority: z.string().min(1).optional(),
});
export type TlsSettings = z.output<typeof TlsSettings>;

/** `tls` and `withoutTls` of a configuration's section, both optional. */
export const tlsShape = { tls: TlsSettings.optional(), withoutTls: z.literal(WITHOUT_TLS).optional() };

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether only this machine is there. Of names, only `localhost`: where another one leads is for others to say. */
export function isLoopback(host: string): boolean {
  const address = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  const family = isIP(address);
  if (family === 0) return address.toLowerCase() === "localhost";
  return loopback.check(address, family === 6 ? "ipv6" : "ipv4");
}

/**
 * Lets nobody listen beyond this machine without TLS, unless told so in so many words.
 * @param withoutTls as the configuration has it
 * @param what the configuration's key or the listener, for the error
 * @throws {PipelineError} TLS_REQUIRED
 */
export function requireTlsBeyondLoopback(host: string, hasTls: boolean, withoutTls: string | undefined, what = "host"): void {
  if (hasTls || isLoopback(host) || withoutTls === WITHOUT_TLS) return;
  throw new PipelineError("TLS_REQUIRED", `${what}: ${host} is beyond this machine and there is no tls; ${remedy}`, { host });
}

/**
 * Lets nobody connect beyond this machine without TLS, unless told so in so many words.
 * @param url a URL with a host; of `mqtts:`, `https:` and the like it asks nothing
 * @param what the configuration's key, for the error
 * @throws {PipelineError} TLS_REQUIRED
 */
export function requireTlsUrl(url: string, withoutTls: string | undefined, what = "url"): void {
  const { protocol, hostname } = new URL(url);
  if (tlsProtocols.has(protocol) || isLoopback(hostname) || withoutTls === WITHOUT_TLS) return;
  const facts = { host: hostname, protocol };
  throw new PipelineError("TLS_REQUIRED", `${what}: ${protocol}//${hostname} is beyond this machine and without TLS; ${remedy}`, facts);
}

const tlsProtocols = new Set(["mqtts:", "https:", "wss:"]);
const remedy = `withoutTls would have to say ${JSON.stringify(WITHOUT_TLS)}`;
