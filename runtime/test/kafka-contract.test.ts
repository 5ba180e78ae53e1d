import { describeWithKafka } from "../../test/support/kafka.ts";
import { openKafkaLog } from "../src/kafka-log.ts";
import { silentLogger } from "../src/logging.ts";
import { describeLog } from "./log-contract.ts";

await describeWithKafka("the log on Kafka", (kafka) => {
  describeLog("Kafka", async () => ({
    connect: () => openKafkaLog({ brokers: kafka().brokers, clientId: "contract", logger: silentLogger() }),
    [Symbol.asyncDispose]: async () => {},
  }));
});
