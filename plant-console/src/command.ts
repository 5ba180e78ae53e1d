import type { ServiceCommand } from "@smile/runtime/service-command";
import { loadConsoleConfig } from "./config.ts";
import { startConfiguredConsole } from "./configured-console.ts";
import { alertJson, alertLine, gapJson, gapLine } from "./print.ts";

/** `smile plant-console` */
export const plantConsoleCommand: ServiceCommand = {
  name: "plant-console",
  summary: "Receives the encrypted scores of one plant, decrypts them, stores risks and alerts, and prints a line per alert and per gap.",
  details: `                 plant; mqtt {url, clientId}; paths of deployment, keystore and store; leases: path or array;
                 batch {deliveries 64, waitMs 0}; resendMs 2000; retainRisks 1000000; logLevel info
                 The environment wins: SMILE_PLANT, SMILE_MQTT_URL, SMILE_MQTT_CLIENT_ID, SMILE_DEPLOYMENT,
                 SMILE_KEYSTORE, SMILE_LEASES, SMILE_STORE
  --json         one JSON object per alert and per gap on standard output`,
  options: { json: { type: "boolean" } },
  async start({ configFile, env, logger: loggerAt, values }) {
    const config = loadConsoleConfig(configFile, env);
    const print = values.json ? alertJson : alertLine;
    return startConfiguredConsole(config, {
      logger: loggerAt(config.logLevel),
      env,
      onGap: (gap) => process.stdout.write(`${values.json ? gapJson(gap) : gapLine(gap)}\n`),
      onAlert: (event, { cards }) => process.stdout.write(`${print(event, cards)}\n`),
    });
  },
};
