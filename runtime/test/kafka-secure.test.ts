import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAuthority } from "@smile/identity/authority";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { kafkaHome, whyNoLocalKafka } from "@smile/kafka-local/kafka-jars";
import { type LocalKafka, startLocalKafka } from "@smile/kafka-local/local-kafka";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Environment } from "../src/config.ts";
import { PASSWORD_VARIABLE } from "../src/kafka-security.ts";
import { LogConfig, openLog } from "../src/log-config.ts";
import { createLogger } from "../src/logging.ts";
import { WITHOUT_TLS } from "../src/tls-config.ts";

const password = `sentinel-${randomUUID()}`;
const never = new AbortController().signal;
const limits = { maxRecords: 100, maxBytes: 1 << 20, waitMs: 10_000 };
const sasl = { mechanism: "scram-sha-512", username: "smile", passwordFile: "password.txt" };

const folder = mkdtempSync(join(tmpdir(), "smile-kafka-secure-"));
afterAll(() => rmSync(folder, { recursive: true }));
const put = (name: string, text: string, mode = 0o600) => {
  writeFileSync(join(folder, name), text, { mode });
  chmodSync(join(folder, name), mode);
};
const [authority, stranger] = await Promise.all(["Kafka", "Stranger"].map((name) => createAuthority({ name, days: 2 })));
put("authority.pem", authority!.certificate);
put("stranger.pem", stranger!.certificate);
put("password.txt", `${password}\n`);
put("wrong.txt", `${password}-wrong\n`);

/** Opens a log as a service does, and keeps every line that it logs. */
const lines: string[] = [];
function open(kafka: object, env: Environment = {}) {
  const logger = createLogger({ service: "test", level: "trace", to: { write: (line) => void lines.push(line) } });
  return openLog(LogConfig.parse({ kafka, partitions: 2 }), folder, "test", logger, env);
}

async function refusalOf(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = (await work.then(
    () => new Error("it was not refused"),
    (reason: unknown) => reason,
  )) as Error & { code: string };
  lines.push(error.message, String(error.stack), JSON.stringify(error), JSON.stringify(error.cause ?? ""));
  return error;
}

describe("what a service is told about its Kafka", () => {
  const near = { brokers: ["127.0.0.1:9"] };
  const far = { brokers: ["127.0.0.1:9", "kafka.example:9092"] };

  it("is refused without TLS beyond this machine, unless the configuration says what that means", async () => {
    const { code, message } = await refusalOf(open(far));
    expect(code).toBe("TLS_REQUIRED");
    expect(message).toContain("log.kafka.brokers: kafka.example");
    expect(LogConfig.safeParse({ kafka: { ...far, withoutTls: "yes" } }).success).toBe(false);
    // It goes on to what comes next: the password file.
    const said = open({ ...far, withoutTls: WITHOUT_TLS, sasl: { ...sasl, passwordFile: "missing.txt" } });
    expect((await refusalOf(said)).code).toBe("FILE_MISSING");
  });

  it("names what is missing, empty, or open to others", async () => {
    put("open.txt", password, 0o644);
    put("empty.txt", "\n");
    const cases = [
      [{ sasl: { ...sasl, passwordFile: "open.txt" } }, "CONFIG_INVALID", "mode 0600"],
      [{ sasl: { ...sasl, passwordFile: "empty.txt" } }, "FILE_DAMAGED", "empty"],
      [{ sasl: { ...sasl, passwordFile: undefined } }, "CONFIG_INVALID", PASSWORD_VARIABLE],
      [{ tls: { authority: "missing.pem" } }, "FILE_MISSING", "log.kafka.tls.authority"],
      [{ tls: { authority: "password.txt" } }, "FILE_DAMAGED", "log.kafka.tls.authority"],
    ] as const;
    for (const [kafka, code, words] of cases) {
      const refusal = await refusalOf(open({ ...near, ...kafka }));
      expect(refusal.code).toBe(code);
      expect(refusal.message).toContain(words);
    }
    expect(lines.join("\n")).not.toContain(password);
  });

  it("takes no password in the configuration itself, nor a certificate without its key", () => {
    for (const kafka of [{ sasl: { ...sasl, password } }, { tls: { certificate: "a.pem" } }]) {
      expect(LogConfig.safeParse({ kafka: { ...near, ...kafka } }).success).toBe(false);
    }
  });
});

const missing = await whyNoLocalKafka(kafkaHome(process.env));
describe.skipIf(missing !== undefined)("a Kafka that takes clients with TLS and SCRAM only", () => {
  let kafka: LocalKafka;
  const secured = () => ({ brokers: [kafka.bootstrap], tls: { authority: "authority.pem" }, sasl });

  beforeAll(async () => {
    const server = await issueServerCertificate(authority!, { hosts: ["127.0.0.1"], days: 2 });
    kafka = await startLocalKafka({ home: kafkaHome(process.env), heapMiB: 512, secure: { ...server, users: { smile: password } } });
  }, 300_000); // the first time, Kafka is fetched
  afterAll(async () => {
    await kafka?.[Symbol.asyncDispose]();
  });

  it("appends, reads by position, and hands a group what it has not settled", async () => {
    const topic = `topic-${randomUUID()}`;
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i);
    {
      await using log = await open(secured());
      await log.ensureTopics([{ name: topic, partitions: 2 }]);
      const [at] = await log.append([{ topic, key: "plant", value: bytes }]);
      await log.append([{ topic, key: "plant", value: new Uint8Array() }]);
      const [first] = await log.read(at!, limits, never);
      expect([...first!.value]).toEqual([...bytes]);
      await using member = await log.join("group", [topic]);
      const taken = [];
      while (taken.length < 2) taken.push(...(await member.poll(limits, never)));
      await member.settle(taken.slice(0, 1));
    }
    await using log = await open({ ...secured(), sasl: { ...sasl, passwordFile: undefined } }, { [PASSWORD_VARIABLE]: password });
    await using member = await log.join("group", [topic]);
    const again = [];
    while (again.length < 1) again.push(...(await member.poll(limits, never)));
    expect(again.map(({ value }) => value.length)).toEqual([0]);
  });

  it.concurrent.each([
    ["a wrong password", () => ({ sasl: { ...sasl, passwordFile: "wrong.txt" } }), "BROKER_REFUSED", /Kafka refuses us/],
    ["a user that it does not know", () => ({ sasl: { ...sasl, username: "nobody" } }), "BROKER_REFUSED", /Kafka refuses us/],
    ["another mechanism", () => ({ sasl: { ...sasl, mechanism: "plain" } }), "BROKER_REFUSED", /Kafka refuses us/],
    [
      "an authority that did not issue its certificate",
      () => ({ tls: { authority: "stranger.pem" } }),
      "CERTIFICATE_INVALID",
      /certificate/,
    ],
    ["a name that its certificate does not have", () => ({ brokers: [`localhost:${port()}`] }), "CERTIFICATE_INVALID", /altnames/],
    ["TLS without SASL", () => ({ sasl: undefined }), "LOG_UNAVAILABLE", /Kafka does not answer/],
    ["neither", () => ({ tls: undefined, sasl: undefined }), "LOG_UNAVAILABLE", /Kafka does not answer/],
  ] as const)("refuses, or is refused by, a client with %s, and the error says so", async (_, changes, code, words) => {
    const use = async () => {
      await using log = await open({ ...secured(), ...changes() });
      await log.ensureTopics([{ name: "topic", partitions: 1 }]);
    };
    const refusal = await refusalOf(use());
    expect(refusal.code).toBe(code);
    expect(refusal.message).toMatch(words);
  });
  const port = () => kafka.bootstrap.split(":")[1];

  it("has its password in no log line and no error", () => {
    expect(lines.length).toBeGreaterThan(10);
    const all = lines.join("\n");
    for (const form of [password, Buffer.from(password).toString("base64").slice(0, -4)]) expect(all).not.toContain(form);
  });
});

if (missing !== undefined) {
  it.skipIf(process.env.SMILE_REQUIRE_KAFKA !== "1")(`NOT RUN without a local Kafka: ${missing}`, () => {
    expect.fail(`SMILE_REQUIRE_KAFKA is set, but ${missing}`);
  });
}
