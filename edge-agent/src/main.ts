import { createReadStream, openSync } from "node:fs";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { parseArgs } from "node:util";
import { PipelineError } from "@smile/errors/pipeline-error";
import { exitCodes, runService, stopOnSignals } from "@smile/runtime/lifecycle";
import { createLogger, type Logger } from "@smile/runtime/logging";
import { type AgentSettings, agentConfig, folderOf, readSettings } from "./config.ts";
import { openMqttFrameSender } from "./mqtt-frame-sender.ts";
import { ndjsonSource } from "./ndjson-source.ts";
import { RowQueue } from "./row-queue.ts";
import { type EdgeAgentConfig, startEdgeAgent } from "./service.ts";
import type { RowSource } from "./source.ts";

const usage = `Usage: node edge-agent/src/main.ts --config edge.json [--drain]

Reads rows of machines, lifts and encrypts their windows, and publishes the frames over MQTT.

  --config FILE  JSON: plant, gateway, deployment, lease, key, mqtt.url, store, source, lingerMs; see edge-agent/README.md
  --drain        reads no rows: publishes what the store holds, open windows included, and ends; before a deployment changes
  --help         this text
`;

const { values: args } = parseArgs({ options: { config: { type: "string" }, drain: { type: "boolean" }, help: { type: "boolean" } } });
if (args.help) {
  process.stdout.write(usage);
  process.exit(exitCodes.stopped);
}

let logger = createLogger({ service: "edge-agent" });
using signals = stopOnSignals(process);
const code = await runService(
  async () => {
    if (args.config === undefined) throw new PipelineError("CONFIG_INVALID", "--config names no file");
    const settings = readSettings(args.config, process.env);
    logger = createLogger({ service: "edge-agent", level: settings.logLevel });
    const folder = folderOf(args.config);
    const config: EdgeAgentConfig = agentConfig(settings, folder);
    const openSender = async () =>
      openMqttFrameSender({
        url: settings.mqtt.url,
        plant: settings.plant,
        gateway: settings.gateway,
        logger: logger.child({ part: "mqtt" }),
        largestBytes: settings.mqtt.largestEnvelopeBytes,
      });
    if (args.drain) return startEdgeAgent({ ...config, atEnd: "seal" }, { source: emptySource(), openSender }, logger);
    return startEdgeAgent(config, { source: openSource(settings, config, folder, logger), openSender }, logger);
  },
  { signal: signals.signal, logger },
);
process.exit(code);

function openSource({ source }: AgentSettings, { deployment }: EdgeAgentConfig, folder: string, log: Logger): RowSource {
  const { sensors, regimes } = deployment.featureSet;
  const input: Readable = source.kind === "stdin" ? process.stdin : openFile(resolve(folder, source.path));
  let malformed = 0;
  return ndjsonSource(input, {
    required: [...sensors, ...(regimes?.settings ?? [])],
    onMalformed: (line) => {
      malformed++;
      if (malformed <= 10 || malformed % 1000 === 0) log.warn({ ...line, malformed }, "a line was refused");
    },
  });
}

function openFile(path: string): Readable {
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
