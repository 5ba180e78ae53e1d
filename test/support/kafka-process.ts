import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { kafkaHome, whyNoLocalKafka } from "@smile/kafka-local/kafka-jars";
import { startLocalKafka } from "@smile/kafka-local/local-kafka";
import { maxMessageBytes } from "@smile/kafka-local/server-properties";
import { freePort } from "./free-port.ts";

/** A Kafka of one broker for tests, and what faults do to it. Gone, with its data, when it is disposed of. */
export type TestKafka = AsyncDisposable & {
  readonly brokers: readonly string[];
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** On the same address and data, after `kill`. */
  start(): Promise<void>;
};

/** The same version as in compose/kafka-local/pom.xml. */
const image = "apache/kafka:4.3.1";

export type Way = { readonly kind: "docker" | "local" } | { readonly kind: "none"; readonly reason: string };

/** Docker if its engine answers, else Java and Maven, else none. */
export async function wayToKafka(): Promise<Way> {
  try {
    await promisify(execFile)("docker", ["info"], { timeout: 10_000 });
    return { kind: "docker" };
  } catch {
    const reason = await whyNoLocalKafka(kafkaHome(process.env));
    return reason === undefined ? { kind: "local" } : { kind: "none", reason: `no Docker engine answers, and ${reason}` };
  }
}

/** @throws {Error} saying what is missing when there is no way to have a Kafka here */
export async function startTestKafka(): Promise<TestKafka> {
  const way = await wayToKafka();
  if (way.kind === "none") throw new Error(`no Kafka to test against: ${way.reason}`);
  return way.kind === "docker" ? await startInDocker() : await startFromJars();
}

async function startFromJars(): Promise<TestKafka> {
  const kafka = await startLocalKafka({ home: kafkaHome(process.env), heapMiB: 512 });
  return {
    brokers: [kafka.bootstrap],
    kill: () => kafka.kill(),
    start: () => kafka.start(),
    [Symbol.asyncDispose]: () => kafka[Symbol.asyncDispose](),
  };
}

async function startInDocker(): Promise<TestKafka> {
  const { GenericContainer, Wait, getContainerRuntimeClient } = await import("testcontainers");
  // What a broker advertises must be known before it starts, so the port outside is chosen here.
  const port = await freePort();
  const settings = {
    NODE_ID: "1",
    PROCESS_ROLES: "broker,controller",
    LISTENERS: "PLAINTEXT://:9092,INSIDE://:29092,CONTROLLER://:9093",
    ADVERTISED_LISTENERS: `PLAINTEXT://127.0.0.1:${port},INSIDE://localhost:29092`,
    LISTENER_SECURITY_PROTOCOL_MAP: "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    CONTROLLER_LISTENER_NAMES: "CONTROLLER",
    INTER_BROKER_LISTENER_NAME: "INSIDE",
    CONTROLLER_QUORUM_VOTERS: "1@localhost:9093",
    AUTO_CREATE_TOPICS_ENABLE: "false",
    MESSAGE_MAX_BYTES: `${maxMessageBytes}`,
    GROUP_INITIAL_REBALANCE_DELAY_MS: "0",
    BROKER_HEARTBEAT_INTERVAL_MS: "500",
    BROKER_SESSION_TIMEOUT_MS: "3000",
    OFFSETS_TOPIC_REPLICATION_FACTOR: "1",
    OFFSETS_TOPIC_NUM_PARTITIONS: "1",
    TRANSACTION_STATE_LOG_REPLICATION_FACTOR: "1",
    TRANSACTION_STATE_LOG_MIN_ISR: "1",
    SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR: "1",
    SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR: "1",
  };
  const started = await new GenericContainer(image)
    .withExposedPorts({ container: 9092, host: port })
    .withEnvironment(Object.fromEntries(Object.entries(settings).map(([name, value]) => [`KAFKA_${name}`, value])))
    .withWaitStrategy(Wait.forLogMessage(/Kafka Server started/))
    .start();
  const { container } = await getContainerRuntimeClient();
  const handle = container.getById(started.getId());
  return {
    brokers: [`127.0.0.1:${port}`],
    kill: async () => {
      await handle.kill({ signal: "SIGKILL" });
    },
    start: async () => {
      await handle.start();
    },
    [Symbol.asyncDispose]: async () => {
      await started.stop({ timeout: 0 });
    },
  };
}
