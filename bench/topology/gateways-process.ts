/**
 * One process with some gateways of the measured topology: real edge agents, fed by machines that are simulated in the same process at
 * an offered rate. `node gateways-process.ts FOLDER GATEWAY...`; the parent sets the rate by IPC and hears what was done every second.
 */
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openBrokerTls } from "@smile/edge-agent/broker-tls";
import { configuredAgent, readSettings } from "@smile/edge-agent/config";
import { readKeys } from "@smile/edge-agent/key-files";
import { openMqttFrameSender } from "@smile/edge-agent/mqtt-frame-sender";
import { type EdgeAgent, startEdgeAgent } from "@smile/edge-agent/service";
import { collectSeldom } from "@smile/runtime/collections";
import { createLogger } from "@smile/runtime/logging";
import { SteadyMachines } from "./steady-machines.ts";

collectSeldom();
const [folder, ...gateways] = process.argv.slice(2) as [string, ...string[]];
const logger = createLogger({ service: "gateways", level: "warn" });
const started: { agent: EdgeAgent; machines: SteadyMachines }[] = [];

for (const gateway of gateways) {
  const home = resolve(folder, "north/gateways", gateway);
  const settings = readSettings(resolve(home, "edge-agent.json"), process.env);
  const { config, keyFiles, brokerAuthority } = configuredAgent(settings, home, process.env);
  const tls = openBrokerTls({ settings: settings.tls!, folder: home, authority: brokerAuthority, logger });
  const { plant, mqtt } = settings;
  const { machines } = config.lease;
  const source = new SteadyMachines({ machines, lanes: config.deployment.lanes, hopMs: config.deployment.featureSet.window.hopMs });
  const openSender = async (onConnected: () => void) =>
    openMqttFrameSender({ url: mqtt.url, plant, gateway, logger, largestBytes: mqtt.largestEnvelopeBytes, onConnected, tls });
  const agent = await startEdgeAgent({ ...config, ...readKeys(keyFiles), window: 64 }, { source, openSender }, logger);
  agent.done.catch((error: unknown) => {
    logger.error({ err: error }, "an agent ended");
    process.exit(1);
  });
  started.push({ agent, machines: source });
}

process.on("message", ({ windowsPerSecond }: { windowsPerSecond: number }) => {
  for (const { machines } of started) machines.setRate(windowsPerSecond / started.length);
});
process.on("SIGTERM", () => process.exit(0));
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: true });

for (;;) {
  await delay(250);
  const sum = (read: (each: (typeof started)[number]) => number) => started.reduce((total, each) => total + read(each), 0);
  process.send?.({
    windows: sum(({ machines }) => machines.emitted),
    frames: sum(({ agent }) => agent.counters.published),
    waiting: sum(({ agent }) => agent.counters.frames - agent.counters.published),
  });
}
