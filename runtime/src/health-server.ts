import { once } from "node:events";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "./logging.ts";
import type { Metrics } from "./metrics.ts";
import { requireTlsBeyondLoopback } from "./tls-config.ts";
import type { TlsSource } from "./tls-files.ts";

/** What a service needs to do its work, in words, and whether it has it: `{ "connected to the broker": false }`. */
export type Conditions = Readonly<Record<string, boolean>>;

export type HealthServerOptions = {
  /** Default 127.0.0.1: nobody but this machine. */
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** HTTPS for those who show a certificate of its `authority`, which it must have. */
  readonly tls?: TlsSource | undefined;
  /** `WITHOUT_TLS`, to listen beyond this machine without `tls` all the same. */
  readonly withoutTls?: string | undefined;
  readonly logger: Logger;
  readonly service: string;
  /** Whether the work goes on; false once it has failed. */
  readonly isAlive: () => boolean;
  /** A rejection, or no answer in time, counts as a condition that does not hold. */
  readonly conditions: () => Conditions | Promise<Conditions>;
  readonly metrics: Metrics;
};

export interface HealthServer extends AsyncDisposable {
  readonly port: number;
  /** `http://host:port`, or `https://host:port` */
  readonly url: string;
}

const maxConnections = 32;
const maxHeaderBytes = 8 * 1024;
const requestWithinMs = 5000;
const answerWithinMs = 2000;
const handshakeWithinMs = 5000;

/**
 * Answers `GET /healthz` (200, or 503 once the work has failed: start me again), `GET /readyz` (200, or 503 naming what is missing:
 * send me no work yet) and `GET /metrics` (Prometheus text). No secrets, but plant and gateway names and figures: keep it within the
 * operator's own network. Connections, headers and waiting times are bounded.
 * @throws {PipelineError} CONFIG_INVALID when it cannot listen there, or does not know whose certificates to ask for; TLS_REQUIRED beyond
 *   this machine without TLS
 */
export async function startHealthServer(options: HealthServerOptions): Promise<HealthServer> {
  const { host = "127.0.0.1", service, logger, metrics, tls } = options;
  requireTlsBeyondLoopback(host, tls !== undefined, options.withoutTls, "health.host");
  const pages: Readonly<Record<string, (response: ServerResponse) => Promise<void>>> = {
    "/healthz": async (response) => {
      const alive = options.isAlive();
      sendJson(response, alive ? 200 : 503, { service, status: alive ? "alive" : "failed" });
    },
    "/readyz": async (response) => {
      const conditions = await readConditions(options.conditions);
      const missing = Object.keys(conditions).filter((name) => !conditions[name]);
      sendJson(response, missing.length === 0 ? 200 : 503, { service, ready: missing.length === 0, missing });
    },
    "/metrics": async (response) => {
      send(response, 200, metrics.contentType, await metrics.expose());
    },
  };

  const bounds = {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: requestWithinMs,
    requestTimeout: requestWithinMs,
    keepAliveTimeout: requestWithinMs,
    connectionsCheckingInterval: 1000,
  };
  const answer: RequestListener = (request, response) => {
    const { method, url = "", headers } = request;
    // Nobody needs to send anything here: a body is not read but cut off.
    if (headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined) response.setHeader("connection", "close");
    const path = url.split("?", 1)[0]!;
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (method !== "GET") {
      response.setHeader("allow", "GET");
      sendJson(response, 405, { error: "only GET" });
    } else if (page === undefined) sendJson(response, 404, { error: "no such page", pages: Object.keys(pages) });
    else {
      page(response).catch((error: unknown) => {
        logger.warn({ err: error, path }, "a health page failed");
        if (!response.headersSent) sendJson(response, 500, { error: "failed" });
        else response.destroy();
      });
    }
  };
  const listen = () => {
    if (tls === undefined) return createServer(bounds, answer);
    const asked = { requestCert: true, rejectUnauthorized: true, handshakeTimeout: handshakeWithinMs };
    const secure = createTlsServer({ ...bounds, ...secureContext(tls), ...asked }, answer);
    tls.onChange(() => secure.listening && secure.setSecureContext(secureContext(tls)));
    secure.on("tlsClientError", (error, { remoteAddress }) => logger.debug({ err: error, remoteAddress }, "no TLS connection for health"));
    return secure;
  };
  const server = listen();
  server.maxConnections = maxConnections;
  try {
    server.listen(options.port, host);
    await once(server, "listening");
  } catch (error) {
    const what = `health: cannot listen on ${host}:${options.port}: ${error instanceof Error ? error.message : String(error)}`;
    throw new PipelineError("CONFIG_INVALID", what, { host, port: options.port }, error);
  }
  server.on("error", (error) => logger.error({ err: error }, "the health server's listener failed"));
  const { port } = server.address() as AddressInfo;
  const url = `${tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  logger.info({ url }, "health and metrics are served");

  return {
    port,
    url,
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function secureContext({ current: { certificate, key, authority } }: TlsSource) {
  // Without one, everybody whom the system's own authorities know would be let in.
  if (authority === undefined) throw new PipelineError("CONFIG_INVALID", "health.tls.authority: must say whose certificates to ask for");
  return { cert: certificate, key, ca: authority, minVersion: "TLSv1.2" as const };
}

async function readConditions(read: HealthServerOptions["conditions"]): Promise<Conditions> {
  const late = Promise.withResolvers<Conditions>();
  const timer = setTimeout(() => late.resolve({ "an answer in time": false }), answerWithinMs);
  try {
    return await Promise.race([read(), late.promise]);
  } catch {
    return { "an answer": false };
  } finally {
    clearTimeout(timer);
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  send(response, status, "application/json; charset=utf-8", `${JSON.stringify(body)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body), "cache-control": "no-store" });
  response.end(body);
}
