import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { createAuthority } from "@smile/identity/authority";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { loadConfig } from "../src/config.ts";
import { silentLogger } from "../src/logging.ts";
import { type Monitoring, openMonitoring } from "../src/monitoring.ts";
import { monitoringEnvNames, monitoringShape, readToken } from "../src/monitoring-config.ts";
import { WITHOUT_TLS } from "../src/tls-config.ts";

const schema = z.strictObject({ ...monitoringShape });
const load = (file: object, env: Record<string, string> = {}) => loadConfig({ schema, env, envNames: monitoringEnvNames, file });
const database = { url: "http://127.0.0.1:8086", org: "plant", bucket: "smile" };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "smile-monitoring-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function open(settings: Parameters<typeof load>[0], stopping = new AbortController().signal): Promise<Monitoring> {
  return await openMonitoring({ service: "edge-agent", settings: load(settings), folder, logger: silentLogger(), stopping });
}

const ready = async ({ url }: Monitoring) => {
  const answer = await fetch(`${url}/readyz`);
  const { missing } = (await answer.json()) as { missing: string[] };
  return { status: answer.status, missing };
};

describe("monitoringShape", () => {
  it("leaves everything off unless it is configured", () => {
    expect(load({})).toEqual({});
  });

  it("serves health on loopback by default, and takes its port from the environment", () => {
    expect(load({}, { SMILE_HEALTH_PORT: "9100" }).health).toEqual({ host: "127.0.0.1", port: 9100 });
  });

  it("fills in what a time-series database needs no answer to", () => {
    const { timeSeries } = load({ timeSeries: database }, { SMILE_TIME_SERIES_TOKEN: "t0p" });
    expect(timeSeries).toMatchObject({ ...database, token: "t0p", flushMs: 1000, spoolBytes: 16 * 1024 * 1024, figuresMs: 10_000 });
  });

  it.each([
    ["two tokens", { token: "a", tokenFile: "b" }, /timeSeries: token and tokenFile exclude each other/],
    ["credentials in the address", { url: "http://me:s3cret@db:8086" }, /timeSeries\.url .*must end before/],
    ["the path that the client adds itself", { url: "http://db:8086/api/v2" }, /timeSeries\.url .*must end before/],
    ["another protocol", { url: "ftp://db" }, /timeSeries\.url/],
    ["a token that HTTP cannot carry", { token: "s3cret\nX-Evil: 1" }, /timeSeries\.token .*must be one word/],
    ["no room", { spoolBytes: 1000 }, /timeSeries\.spoolBytes/],
    ["an unknown key", { passwd: "s3cret" }, /timeSeries\.passwd: unknown key/],
  ])("refuses %s, without repeating it", (_, fields, message) => {
    expect(() => load({ timeSeries: { ...database, ...fields } })).toThrow(message);
    expect(() => load({ timeSeries: { ...database, ...fields } })).not.toThrow(/s3cret/);
  });
});

describe("readToken", () => {
  const settings = (tokenFile: string) => load({ timeSeries: { ...database, tokenFile } }).timeSeries!;

  it("reads the token from a file beside the configuration, without the line's end", () => {
    writeFileSync(join(folder, "token"), "t0p\n");
    expect(readToken(settings("token"), folder)).toBe("t0p");
  });

  it("names a file that is missing or holds something else, and does not quote it", () => {
    writeFileSync(join(folder, "letter"), "dear s3cret");
    const errorOf = (file: string): unknown => {
      try {
        return readToken(settings(file), folder);
      } catch (error) {
        return error;
      }
    };
    expect(isPipelineError(errorOf("nowhere"), "FILE_MISSING")).toBe(true);
    expect(isPipelineError(errorOf("letter"), "FILE_DAMAGED")).toBe(true);
    expect(String(errorOf("letter"))).not.toMatch(/s3cret/);
  });
});

describe("openMonitoring", () => {
  it("serves health over TLS with the files of its folder, and names the one that is wrong", async () => {
    const tls = { certificate: "own.pem", key: "own-key.pem", authority: "authority.pem" };
    const health = { port: 0, tls };
    await expect(open({ health })).rejects.toThrow(/health\.tls\.certificate: .*own\.pem.*FILE_MISSING/);
    const authority = await createAuthority({ name: "operator", days: 2 });
    const own = await issueServerCertificate(authority, { hosts: ["127.0.0.1"], days: 1 });
    writeFileSync(join(folder, "own.pem"), own.certificate);
    writeFileSync(join(folder, "own-key.pem"), own.key, { mode: 0o600 });
    writeFileSync(join(folder, "authority.pem"), authority.certificate);
    await using monitoring = await open({ health });
    expect(monitoring.url).toMatch(/^https:/);
  });

  it("does not send a token beyond this machine by plain HTTP, unless told so in so many words", async () => {
    const away = { ...database, url: "http://database.invalid:8086" };
    await expect(open({ timeSeries: { ...away, token: "s3cret" } })).rejects.toThrow(
      /timeSeries\.url: http:\/\/database\.invalid .*TLS_REQUIRED/,
    );
    await expect(open({ timeSeries: { ...away, token: "s3cret" } })).rejects.not.toThrow(/s3cret/);
    const allowed = [
      { ...away, token: "s3cret", withoutTls: WITHOUT_TLS },
      { ...away, url: "https://database.invalid", token: "s3cret" },
      away,
      { ...database, token: "s3cret" },
    ];
    for (const timeSeries of allowed) await (await open({ timeSeries }))[Symbol.asyncDispose]();
  });

  it("opens nothing that is not configured", async () => {
    await using monitoring = await open({});
    expect([monitoring.url, monitoring.timeSeries]).toEqual([undefined, undefined]);
    monitoring.watch({ done: Promise.resolve(), conditions: () => ({}), metrics: [] });
  });

  it("is alive and not ready until the service has started, then ready as its conditions hold, and not any more once it stops", async () => {
    const stop = new AbortController();
    await using monitoring = await open({ health: { port: 0 } }, stop.signal);
    expect((await fetch(`${monitoring.url}/healthz`)).status).toBe(200);
    expect(await ready(monitoring)).toEqual({ status: 503, missing: ["started"] });

    let connected = false;
    monitoring.watch({ done: new Promise(() => {}), conditions: () => ({ "connected to the broker": connected }), metrics: [] });
    expect(await ready(monitoring)).toEqual({ status: 503, missing: ["connected to the broker"] });
    connected = true;
    expect(await ready(monitoring)).toEqual({ status: 200, missing: [] });
    stop.abort();
    expect(await ready(monitoring)).toEqual({ status: 503, missing: ["not stopping"] });
  });

  it("is not alive any more once the work has failed", async () => {
    await using monitoring = await open({ health: { port: 0 } });
    const done = Promise.withResolvers<void>();
    monitoring.watch({ done: done.promise, conditions: () => ({}), metrics: [] });
    done.reject(new Error("the store is gone"));
    await vi.waitUntil(async () => (await fetch(`${monitoring.url}/healthz`)).status === 503);
    expect(await ready(monitoring)).toEqual({ status: 503, missing: ["not failed"] });
  });

  it("serves the service's own metrics beside those of its process and of its way to the time series", async () => {
    await using monitoring = await open({ health: { port: 0 }, timeSeries: { ...database, url: "http://127.0.0.1:1" } });
    const metrics = [{ kind: "counter", name: "smile_edge_agent_rows_total", help: "Rows", read: () => 42 }] as const;
    monitoring.watch({ done: new Promise(() => {}), conditions: () => ({}), metrics });
    const text = await (await fetch(`${monitoring.url}/metrics`)).text();
    expect(text).toContain("smile_edge_agent_rows_total 42\n");
    expect(text).toContain("process_resident_memory_bytes ");
    expect(text).toContain("smile_time_series_points_dropped_total 0\n");
  });

  it("writes the final figures when it is disposed, after the service has ended", async () => {
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        bodies.push(Buffer.concat(chunks).toString());
        response.writeHead(204).end();
      });
    }).listen(0, "127.0.0.1");
    await vi.waitUntil(() => server.listening);
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const counters = { rows: 1 };
    {
      await using monitoring = await open({ timeSeries: { ...database, url, figuresMs: 3_600_000, instance: "hall-1" } });
      const metrics = [{ kind: "counter", name: "smile_edge_agent_rows_total", help: "Rows", read: () => counters.rows }] as const;
      monitoring.watch({ done: new Promise(() => {}), conditions: () => ({}), metrics });
      counters.rows = 42;
    }
    server.close();
    expect(bodies.join("\n")).toMatch(/^smile_edge_agent,instance=hall-1,service=edge-agent rows_total=42 \d{13}$/m);
  });
});
