import { spawnSync } from "node:child_process";
import { InfluxDB } from "@influxdata/influxdb-client";
import { GenericContainer, Wait } from "testcontainers";
import { expect, it, vi } from "vitest";
import { openInfluxSink } from "../src/influx-sink.ts";
import { silentLogger } from "../src/logging.ts";

const hasDocker = spawnSync("docker", ["info"]).status === 0;
/** For this test only, in a container that ends with it. */
const token = "token-of-a-test-container";
const begunMs = Date.UTC(2026, 0, 1);

if (!hasDocker) {
  // VictoriaMetrics covers the protocol where no container can run; what only InfluxDB does (tokens, buckets, Flux) is covered here.
  it.skip("DID NOT RUN: writes to a real InfluxDB 2 (no Docker engine answers)", () => {});
} else {
  it("stores in a real InfluxDB 2 what was written, over a pause of the database, and nothing with a wrong token", async () => {
    await using container = await new GenericContainer("influxdb:2.7.11")
      .withEnvironment({
        DOCKER_INFLUXDB_INIT_MODE: "setup",
        DOCKER_INFLUXDB_INIT_USERNAME: "test",
        DOCKER_INFLUXDB_INIT_PASSWORD: "test-container",
        DOCKER_INFLUXDB_INIT_ORG: "plant",
        DOCKER_INFLUXDB_INIT_BUCKET: "smile",
        DOCKER_INFLUXDB_INIT_ADMIN_TOKEN: token,
      })
      .withExposedPorts(8086)
      .withWaitStrategy(Wait.forHttp("/health", 8086))
      .start();
    const url = `http://${container.getHost()}:${container.getMappedPort(8086)}`;
    const settings = { url, org: "plant", bucket: "smile", logger: silentLogger(), flushMs: 20, retryMs: { first: 10, last: 50 } };
    const risk = (i: number) => ({
      measurement: "smile_machine",
      tags: { plant: "north", machine: `press ${i % 10}` },
      fields: { risk: i / 4096, score: i },
      timeMs: begunMs + i * 1000,
    });

    const stranger = openInfluxSink({ ...settings, token: "another", closeMs: 200 });
    stranger.write(risk(0));
    await vi.waitUntil(() => stranger.counters.failedRequests > 0, { timeout: 10_000 });
    await stranger[Symbol.asyncDispose]();
    expect(stranger.counters).toMatchObject({ written: 0, dropped: 1 });

    await using sink = openInfluxSink({ ...settings, token, timeoutMs: 500 });
    for (let i = 0; i < 500; i++) sink.write(risk(i));
    await vi.waitUntil(() => sink.counters.written === 500, { timeout: 10_000 });
    spawnSync("docker", ["pause", container.getId()]);
    for (let i = 500; i < 1000; i++) sink.write(risk(i));
    await vi.waitUntil(() => sink.counters.failedRequests > 0, { timeout: 10_000 });
    spawnSync("docker", ["unpause", container.getId()]);
    await vi.waitUntil(() => sink.counters.written === 1000, { timeout: 20_000 });

    const query = 'from(bucket: "smile") |> range(start: 0) |> filter(fn: (r) => r._field == "score") |> group()';
    const rows = await new InfluxDB({ url, token })
      .getQueryApi("plant")
      .collectRows<{ _value: number; machine: string; _time: string }>(query);
    const read = rows.map(({ _value, machine, _time }) => `${machine} ${_value} ${Date.parse(_time) - begunMs}`);
    expect(read.toSorted()).toEqual(Array.from({ length: 1000 }, (_, i) => `press ${i % 10} ${i} ${i * 1000}`).toSorted());
  }, 180_000);
}
