import { collectYoungOften } from "@smile/runtime/collections";
import { logHelp } from "@smile/runtime/log-config";
import { openMonitoring } from "@smile/runtime/monitoring";
import { monitoringHelp } from "@smile/runtime/monitoring-config";
import { plantRegistryMetrics } from "@smile/runtime/plant-registry-metrics";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { loadConsoleConfig } from "./config.ts";
import { startConfiguredConsole } from "./configured-console.ts";
import { LinePrinter } from "./line-printer.ts";
import { consoleMetrics } from "./metrics.ts";
import { alertJson, alertLine, gapJson, gapLine } from "./print.ts";
import { RiskObserver } from "./risk-observer.ts";

/** `smile plant-console` */
export const plantConsoleCommand: ServiceCommand = {
  name: "plant-console",
  summary: "Receives the encrypted scores of one plant, decrypts them, stores risks and alerts, and prints a line per alert and per gap.",
  details: `                 plant; mqtt {url, clientId} or ${logHelp};
                 tls {certificate, key, authority} for mqtts://, or withoutTls;
                 paths of deployment, service, register, keystore, passphraseFile, store and audit;
                 identity: SHA-256 of the plant's identity; leases: path or array;
                 batch {deliveries 64, waitMs 20}; resendMs 2000; retainRisks 1000000; logLevel info;
${monitoringHelp}
                 The environment wins: SMILE_PLANT, SMILE_MQTT_URL, SMILE_MQTT_CLIENT_ID, SMILE_DEPLOYMENT,
                 SMILE_SERVICE, SMILE_REGISTER, SMILE_IDENTITY, SMILE_KEYSTORE, SMILE_PASSPHRASE_FILE, SMILE_LEASES,
                 SMILE_STORE, SMILE_AUDIT, SMILE_TLS_CERTIFICATE, SMILE_TLS_KEY, SMILE_TLS_AUTHORITY,
                 SMILE_WITHOUT_TLS; SMILE_PASSPHRASE holds the keystore's passphrase where no file does
  --json         one JSON object per alert and per gap on standard output`,
  options: { json: { type: "boolean" } },
  async start({ configFile, folder, env, logger: loggerAt, signal, values }) {
    collectYoungOften();
    const config = loadConsoleConfig(configFile, env);
    const print = values.json ? alertJson : alertLine;
    const logger = loggerAt(config.logLevel);
    await using opened = new AsyncDisposableStack();
    const tags = { plant: config.plant };
    const monitoring = opened.use(
      await openMonitoring({ service: "plant-console", settings: config, folder, logger, tags, stopping: signal }),
    );
    const printer = opened.use(new LinePrinter(process.stdout, logger));
    const observer = new RiskObserver(config.plant, monitoring.timeSeries);
    const console = opened.use(
      await startConfiguredConsole(config, {
        logger,
        env,
        onAlert: (event, deployment) => {
          printer.line(print(event, deployment.cards));
          observer.alert(event, deployment);
        },
        onRisk: (risk, deployment) => observer.risk(risk, deployment),
        onGap: (gap, deployment) => {
          printer.line(values.json ? gapJson(gap) : gapLine(gap));
          observer.gap(gap, deployment);
        },
      }),
    );
    monitoring.watch({
      done: console.done,
      conditions: () => ({
        "connected to the broker": console.connected(),
        "has the key of the next score": console.awaitedKey() === undefined,
      }),
      metrics: [
        ...consoleMetrics({ console, store: console.store, lastStoredMs: () => observer.lastStoredMs }),
        ...plantRegistryMetrics(console.registry),
        observer.latency,
      ],
    });
    const owned = opened.move();
    return { done: console.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  },
};
