import { join } from "node:path";
import type { LocalKafka } from "@smile/kafka-local/local-kafka";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import type { ScheduleOptions } from "./run-schedule.ts";

/** What the services of every schedule share, and how the harness reads it. */
export type SharedLog = AsyncDisposable & {
  readonly kafka: LocalKafka | undefined;
  readonly options: Pick<ScheduleOptions, "log" | "replicas" | "openLog" | "isLogShared" | "kafka">;
};

/** The log in a file of each plant's folder, or one local Kafka for all schedules. */
export async function openSharedLog(kind: "embedded" | "kafka", _say: (text: string) => void): Promise<SharedLog> {
  if (kind === "kafka") throw new Error("not yet");
  return {
    kafka: undefined,
    options: {
      replicas: 1,
      isLogShared: false,
      openLog: (folder) => openEmbeddedLog({ path: join(folder, "log.db"), logger: silentLogger() }),
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
