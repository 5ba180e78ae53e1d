import { resolve } from "node:path";
import { fetchKafkaJars, kafkaHome } from "@smile/kafka-local/kafka-jars";
import { startLocalKafka } from "@smile/kafka-local/local-kafka";
import { Command, Option } from "commander";
import { whole } from "./options.ts";

type KafkaOptions = { port: number; data?: string; fetch?: boolean };

/** `smile kafka` */
export function kafkaCommand(signal: AbortSignal): Command {
  return new Command("kafka")
    .description("Run a local Apache Kafka for trying things out: one node, this machine only, from Maven Central at the first start")
    .addOption(new Option("--port <n>", "port for clients").argParser(whole(1, 65_535)).default(9092))
    .option("--data <folder>", "keep topics and offsets in this folder; without it they go when Kafka stops")
    .option("--fetch", "only fetch Kafka, as a build does beforehand")
    .addHelpText("after", "\nNeeds Java 17 or newer, and Maven to fetch it. SMILE_KAFKA_HOME: folder that keeps what was fetched.")
    .action((options: KafkaOptions) => runKafka(options, signal));
}

async function runKafka({ port, data, fetch }: KafkaOptions, signal: AbortSignal): Promise<void> {
  const home = kafkaHome(process.env);
  if (fetch) {
    process.stdout.write(`${await fetchKafkaJars(home)}\n`);
    return;
  }
  process.stderr.write("starting Kafka; the first time it is fetched, which takes a minute\n");
  await using kafka = await startLocalKafka({ home, port, ...(data === undefined ? {} : { dataFolder: resolve(data) }) });
  // The address alone on standard output, for scripts.
  process.stdout.write(`${kafka.bootstrap}\n`);
  process.stderr.write("Kafka answers at this address; Ctrl-C stops it\n");
  const stopped = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  if (signal.aborted) stopped.resolve();
  await Promise.race([stopped.promise, kafka.ended()]);
}
