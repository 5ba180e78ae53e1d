import { once } from "node:events";
import { connect } from "node:net";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { afterEach, describe, expect, it } from "vitest";
import { type HealthServer, startHealthServer } from "../src/health-server.ts";
import { silentLogger } from "../src/logging.ts";
import { Metrics } from "../src/metrics.ts";

let server: HealthServer | undefined;
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
});

async function start(state: { alive?: boolean; conditions?: Parameters<typeof startHealthServer>[0]["conditions"]; port?: number } = {}) {
  const metrics = new Metrics();
  metrics.add([{ kind: "gauge", name: "smile_test_lag", help: "Lag", read: () => 3 }]);
  server = await startHealthServer({
    port: state.port ?? 0,
    logger: silentLogger(),
    service: "test",
    metrics,
    isAlive: () => state.alive ?? true,
    conditions: state.conditions ?? (() => ({})),
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
