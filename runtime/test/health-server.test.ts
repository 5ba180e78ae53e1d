import { once } from "node:events";
import { request } from "node:https";
import { connect } from "node:net";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { createAuthority } from "@smile/identity/authority";
import type { CertificateAndKey } from "@smile/identity/certify";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { type HealthServer, type HealthServerOptions, startHealthServer } from "../src/health-server.ts";
import { silentLogger } from "../src/logging.ts";
import { Metrics } from "../src/metrics.ts";
import { WITHOUT_TLS } from "../src/tls-config.ts";
import { fixedTls } from "../src/tls-files.ts";

let server: HealthServer | undefined;
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
});

async function start(
  state: { alive?: boolean } & Partial<Pick<HealthServerOptions, "conditions" | "port" | "host" | "tls" | "withoutTls">> = {},
) {
  const metrics = new Metrics();
  metrics.add([{ kind: "gauge", name: "smile_test_lag", help: "Lag", read: () => 3 }]);
  server = await startHealthServer({
    port: 0,
    conditions: () => ({}),
    ...state,
    logger: silentLogger(),
    service: "test",
    metrics,
    isAlive: () => state.alive ?? true,
  });
  return server;
}

/** What the server answers to these bytes until it closes. */
async function raw({ port }: HealthServer, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  socket.setEncoding("utf8").on("data", (text) => {
    answer += text;
  });
  socket.on("error", () => {});
  socket.write(request);
  await once(socket, "close");
  return answer;
}

describe("the health server", () => {
  it("says alive while the work goes on, and 503 once it has failed", async () => {
    const state = { alive: true };
    const { url } = await start(state);
    const alive = await fetch(`${url}/healthz`);
    expect([alive.status, await alive.json()]).toEqual([200, { service: "test", status: "alive" }]);
    state.alive = false;
    const failed = await fetch(`${url}/healthz`);
    expect([failed.status, await failed.json()]).toEqual([503, { service: "test", status: "failed" }]);
  });

  it("says ready when every condition holds, and names those that do not", async () => {
    const conditions = { "connected to the broker": false, "joined its group": true };
    const { url } = await start({ conditions: () => conditions });
    const missing = await fetch(`${url}/readyz`);
    expect([missing.status, await missing.json()]).toEqual([503, { service: "test", ready: false, missing: ["connected to the broker"] }]);
    conditions["connected to the broker"] = true;
    const ready = await fetch(`${url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([200, { service: "test", ready: true, missing: [] }]);
  });

  it("is not ready while a condition cannot be told", async () => {
    const { url } = await start({ conditions: () => Promise.reject(new Error("away")) });
    const answer = await fetch(`${url}/readyz`);
    expect([answer.status, await answer.json()]).toEqual([503, { service: "test", ready: false, missing: ["an answer"] }]);
  });

  it("serves the metrics as Prometheus reads them", async () => {
    const { url } = await start();
    const answer = await fetch(`${url}/metrics?whatever`);
    expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(await answer.text()).toBe("# HELP smile_test_lag Lag\n# TYPE smile_test_lag gauge\nsmile_test_lag 3\n");
  });

  it.each(["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])("takes no %s", async (method) => {
    const { url } = await start();
    const answer = await fetch(`${url}/metrics`, { method });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET"]);
  });

  it.each(["/", "/metrics/", "/constructor", "/healthz/x"])("has no page %s", async (path) => {
    const { url } = await start();
    expect((await fetch(`${url}${path}`)).status).toBe(404);
  });

  it("reads no body: it answers and closes", async () => {
    const answer = await raw(await start(), `POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n${"x".repeat(1000)}`);
    expect(answer).toMatch(/^HTTP\/1.1 405 .*connection: close/is);
  });

  it("refuses headers beyond its bound, and what is no HTTP", async () => {
    const running = await start();
    expect(await raw(running, `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
    expect(await raw(running, "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
  });

  it("holds no more than 32 connections, and none of them once it is closed", async () => {
    const running = await start();
    const sockets = Array.from({ length: 40 }, () => connect(running.port, "127.0.0.1").on("error", () => {}));
    const refused: unknown[] = [];
    const eightRefused = Promise.withResolvers<void>();
    for (const socket of sockets) {
      socket.on("close", () => {
        refused.push(socket);
        if (refused.length === 8) eightRefused.resolve();
      });
    }
    await eightRefused.promise;
    const rest = sockets.filter((socket) => !refused.includes(socket)).map((socket) => once(socket, "close"));
    expect(rest).toHaveLength(32);
    await running[Symbol.asyncDispose]();
    await Promise.all(rest);
  });

  it("names the section of the configuration when its port is taken", async () => {
    const { port } = await start();
    const error = await startHealthServer({
      port,
      logger: silentLogger(),
      service: "other",
      metrics: new Metrics(),
      isAlive: () => true,
      conditions: () => ({}),
    }).catch((reason: unknown) => reason);
    expect(isPipelineError(error, "CONFIG_INVALID") && error.message).toMatch(/^health: cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/);
  });
});

describe("the health server with TLS", () => {
  /** What it answers, over TLS with this certificate; rejects when it does not. */
  function get({ port }: HealthServer, own?: { certificate: string; key: string }): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const shown = own === undefined ? {} : { cert: own.certificate, key: own.key };
      const options = { host: "127.0.0.1", port, path: "/healthz", ca: operator.certificate, agent: false, ...shown };
      request(options, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on("error", reject)
        .end();
    });
  }
  let operator: CertificateAndKey;
  let own: CertificateAndKey;
  let monitoring: CertificateAndKey;
  beforeAll(async () => {
    operator = await createAuthority({ name: "operator", days: 2 });
    own = await issueServerCertificate(operator, { hosts: ["127.0.0.1"], days: 1 });
    monitoring = await issueClientCertificate(operator, { plant: "operator", role: "console", name: "monitoring", days: 1 });
  });

  it("answers those who show a certificate of its authority, and nobody else", async () => {
    const running = await start({ tls: fixedTls({ ...own, authority: operator.certificate }) });
    expect(running.url).toBe(`https://127.0.0.1:${running.port}`);
    const strangers = await createAuthority({ name: "operator", days: 2 });
    const stranger = await issueClientCertificate(strangers, { plant: "operator", role: "console", name: "monitoring", days: 1 });
    const past = Date.now() - 5 * 86_400_000;
    const ended = await issueClientCertificate(operator, { plant: "operator", role: "console", name: "old", days: 1, nowMs: past });
    for (const intruder of [undefined, stranger, ended]) await expect(get(running, intruder)).rejects.toThrow();
    await expect(fetch(`http://127.0.0.1:${running.port}/healthz`)).rejects.toThrow();
    expect(await get(running, monitoring)).toBe(200);
  });

  it("takes up a renewed certificate and a renewed authority", async () => {
    const next = await createAuthority({ name: "next", days: 2 });
    const nextMonitoring = await issueClientCertificate(next, { plant: "operator", role: "console", name: "monitoring", days: 1 });
    let tell = () => {};
    const files = {
      current: { ...own, authority: operator.certificate },
      onChange: (listener: () => void) => {
        tell = listener;
      },
    };
    const running = await start({ tls: files });
    await expect(get(running, nextMonitoring)).rejects.toThrow();
    files.current = { ...files.current, authority: next.certificate };
    tell();
    expect(await get(running, nextMonitoring)).toBe(200);
    await expect(get(running, monitoring)).rejects.toThrow();
  });

  it("does not start without an authority, nor beyond this machine without TLS unless told so in so many words", async () => {
    await expect(start({ tls: fixedTls(own) })).rejects.toThrow(/health\.tls\.authority.*CONFIG_INVALID/);
    await expect(start({ host: "0.0.0.0" })).rejects.toThrow(/health\.host: 0\.0\.0\.0 .*TLS_REQUIRED/);
    await start({ host: "0.0.0.0", withoutTls: WITHOUT_TLS });
  });
});
