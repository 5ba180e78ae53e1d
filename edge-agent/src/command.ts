import { createReadStream, openSync } from "node:fs";
import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "@smile/runtime/logging";
import { openMonitoring } from "@smile/runtime/monitoring";
import { monitoringHelp } from "@smile/runtime/monitoring-config";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { type AgentSettings, agentConfig, readSettings } from "./config.ts";
import { agentMetrics } from "./metrics.ts";
import { type MqttFrameSender, openMqttFrameSender } from "./mqtt-frame-sender.ts";
import { ndjsonSource } from "./ndjson-source.ts";
import { RowQueue } from "./row-queue.ts";
import { type EdgeAgentConfig, startEdgeAgent } from "./service.ts";
import type { RowSource } from "./source.ts";

/** The first so many malformed lines are logged one by one, then every thousandth. */
const loggedLines = 10;

/** `smile edge-agent` */
export const edgeAgentCommand: ServiceCommand = {
  name: "edge-agent",
  summary: "Reads rows of machines, lifts and encrypts their windows, and publishes the frames over MQTT.",
  details: `                 plant; gateway; paths of deployment, lease and key; store: path of its database;
                 mqtt {url, window 16, largestEnvelopeBytes 131072};
                 source {kind "stdin" | "file", path, atEnd "flush" | "seal" | "keep"};
                 spool {maxBytes 268435456, maxAgeMs 604800000, backlogFramesPerSecond 200};
                 lingerMs 1000; commitMs 1000; largestOpenEnds 4; keyId; logLevel info;
${monitoringHelp}
  --drain        reads no rows: publishes what the store holds, open windows included, and ends;
                 before the deployment changes`,
  options: { drain: { type: "boolean" } },
  async start({ configFile, folder, env, logger: loggerAt, signal, values }) {
    const settings = readSettings(configFile, env);
    const logger = loggerAt(settings.logLevel);
    const config = agentConfig(settings, folder, env);
    const { plant, gateway, mqtt } = settings;
    await using opened = new AsyncDisposableStack();
    const tags = { plant, gateway };
    const monitoring = opened.use(await openMonitoring({ service: "edge-agent", settings, folder, logger, tags, stopping: signal }));
    let sender: MqttFrameSender | undefined;
    const openSender = async (onConnected: () => void) => {
      sender = openMqttFrameSender({
        url: mqtt.url,
        plant,
        gateway,
        logger: logger.child({ part: "mqtt" }),
        largestBytes: mqtt.largestEnvelopeBytes,
        onConnected,
      });
      return sender;
    };
    const agent = opened.use(
      values.drain
        ? await startEdgeAgent({ ...config, atEnd: "seal" }, { source: emptySource(), openSender }, logger)
        : await startEdgeAgent(config, { source: openSource(settings, config, folder, logger), openSender }, logger),
    );
    monitoring.watch({
      done: agent.done,
      conditions: () => ({ "connected to the broker": sender?.connected ?? false }),
      metrics: agentMetrics(agent),
    });
    const owned = opened.move();
    return { done: agent.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  },
};

function openSource({ source }: AgentSettings, { deployment }: EdgeAgentConfig, folder: string, logger: Logger): RowSource {
  const { sensors, regimes } = deployment.featureSet;
  const input = source.kind === "stdin" ? process.stdin : openFile(resolve(folder, source.path));
  let malformed = 0;
  return ndjsonSource(input, {
    required: [...sensors, ...(regimes?.settings ?? [])],
    onMalformed: (line) => {
      malformed++;
      if (malformed <= loggedLines || malformed % 1000 === 0) logger.warn({ ...line, malformed }, "a line was refused");
    },
  });
}

function openFile(path: string): AsyncIterable<Uint8Array> {
  try {
    return createReadStream(path, { fd: openSync(path, "r") });
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `source.path: ${path} cannot be read`, { path }, error);
  }
}

function emptySource(): RowSource {
  const queue = new RowQueue();
  queue.end();
  return queue;
}
