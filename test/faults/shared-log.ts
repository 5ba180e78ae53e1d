import { join } from "node:path";
import { kafkaHome } from "@smile/kafka-local/kafka-jars";
import { type LocalKafka, startLocalKafka } from "@smile/kafka-local/local-kafka";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { openKafkaLog } from "@smile/runtime/kafka-log";
import { silentLogger } from "@smile/runtime/logging";
import type { ScheduleOptions } from "./run-schedule.ts";

export type LogKind = "embedded" | "kafka";

/** What the services of every schedule share, and how the harness reads it. */
export type SharedLog = AsyncDisposable & {
  readonly kafka: LocalKafka | undefined;
  readonly options: Pick<ScheduleOptions, "log" | "replicas" | "openLog" | "isLogShared" | "kafka">;
};

/**
 * The log in a file of each plant's folder, or one local Kafka for all schedules.
 * @throws PipelineError TOOL_MISSING, DOWNLOAD_FAILED, LOG_UNAVAILABLE when there is to be a Kafka and there is none
 */
export async function openSharedLog(kind: LogKind): Promise<SharedLog> {
  const logger = silentLogger();
  if (kind === "embedded") {
    const openLog = (folder: string) => openEmbeddedLog({ path: join(folder, "log.db"), logger });
    return { kafka: undefined, options: { replicas: 1, isLogShared: false, openLog }, [Symbol.asyncDispose]: async () => {} };
  }
  const kafka = await startLocalKafka({ home: kafkaHome(process.env) });
  const brokers = [kafka.bootstrap];
  return {
    kafka,
    options: {
      kafka,
      log: { kafka: { brokers } },
      replicas: 2,
      isLogShared: true,
      openLog: () => openKafkaLog({ brokers, clientId: "smile-faults", logger }),
    },
    [Symbol.asyncDispose]: () => kafka[Symbol.asyncDispose](),
  };
}
