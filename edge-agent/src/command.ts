import { createReadStream, openSync } from "node:fs";
import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "@smile/runtime/logging";
import { openMonitoring } from "@smile/runtime/monitoring";
import { monitoringHelp } from "@smile/runtime/monitoring-config";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { type BrokerTls, openBrokerTls } from "./broker-tls.ts";
import { type AgentSettings, configuredAgent, readSettings } from "./config.ts";
import { readKeys, watchedKeys } from "./key-files.ts";
import { agentMetrics, keyMetrics } from "./metrics.ts";
import { type MqttFrameSender, openMqttFrameSender } from "./mqtt-frame-sender.ts";
import { ndjsonSource } from "./ndjson-source.ts";
import { RowQueue } from "./row-queue.ts";
import { type EdgeAgent, type EdgeAgentConfig, startEdgeAgent } from "./service.ts";
import type { RowSource } from "./source.ts";
import { WatchedFiles } from "./watched-files.ts";

/** The first so many malformed lines are logged one by one, then every thousandth. */
const loggedLines = 10;
/** How often keys are looked at for changes. */
const lookMs = 1000;

/** `smile edge-agent` */
export const edgeAgentCommand: ServiceCommand = {
  name: "edge-agent",
  summary: "Reads rows of machines, lifts and encrypts their windows, and publishes the frames over MQTT.",
  details: `                 plant; gateway; paths of deployment, lease, key and signingKey; store: path of its database;
                 keyId, or register (path) and identity (its hash): which keys may be used; service (path);
                 mqtt {url, window 16, largestEnvelopeBytes 131072}; tls {certificate, key, authority}; withoutTls;
                 source {kind "stdin" | "file", path, atEnd "flush" | "seal" | "keep"};
                 spool {maxBytes 268435456, maxAgeMs 604800000, backlogFramesPerSecond 200};
                 lingerMs 1000; commitMs 1000; largestOpenEnds 4; logLevel info;
${monitoringHelp}
  --drain        reads no rows: publishes what the store holds, open windows included, and ends;
                 before the deployment changes`,
  options: { drain: { type: "boolean" } },
  async start({ configFile, folder, env, logger: loggerAt, signal, values }) {
    const settings = readSettings(configFile, env);
    const logger = loggerAt(settings.logLevel);
    const { config, keyFiles, brokerAuthority } = configuredAgent(settings, folder, env);
    const { plant, gateway, mqtt, withoutTls } = settings;
    await using opened = new AsyncDisposableStack();
    const tags = { plant, gateway };
    const monitoring = opened.use(await openMonitoring({ service: "edge-agent", settings, folder, logger, tags, stopping: signal }));
    let tls: BrokerTls | undefined;
    if (settings.tls !== undefined) {
      const part = logger.child({ part: "tls" });
      tls = opened.use(openBrokerTls({ settings: settings.tls, folder, authority: brokerAuthority, logger: part }));
    }
    let sender: MqttFrameSender | undefined;
    const openSender = async (onConnected: () => void) => {
      sender = openMqttFrameSender({
        url: mqtt.url,
        plant,
        gateway,
        logger: logger.child({ part: "mqtt" }),
        largestBytes: mqtt.largestEnvelopeBytes,
        onConnected,
        tls,
        withoutTls,
      });
      return sender;
    };
    let agent: EdgeAgent;
    // Before the keys are read, so that no change falls between the two.
    const files = new WatchedFiles(
      watchedKeys(keyFiles, () => agent),
      logger.child({ part: "keys" }),
    );
    const whole: EdgeAgentConfig = { ...config, ...readKeys(keyFiles) };
    agent = opened.use(
      values.drain
        ? await startEdgeAgent({ ...whole, atEnd: "seal" }, { source: emptySource(), openSender }, logger)
        : await startEdgeAgent(whole, { source: openSource(settings, whole, folder, logger), openSender }, logger),
    );
    opened.use(files.every(lookMs));
    monitoring.watch({
      done: agent.done,
      conditions: () => ({
        "connected to the broker": sender?.connected ?? false,
        ...(tls === undefined ? {} : { "certificate in force": Date.now() <= tls.endsMs }),
      }),
      metrics: [...agentMetrics(agent), ...keyMetrics(files.reloads, tls)],
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
