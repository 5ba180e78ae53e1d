import { cpSync } from "node:fs";
import { join } from "node:path";
import { plantPaths } from "@smile/custody/plant/paths";
import type { KeyMode, Scheme } from "@smile/he/params";
import type { Deployed } from "@smile/model-service/deploy";
import type { StoredRisk } from "@smile/plant-console/store";
import { readJsonFile } from "@smile/runtime/json-file";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { fixedTls } from "@smile/runtime/tls-files";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { ServiceDocument } from "@smile/schemas/service-document";
import { framesTopic } from "@smile/schemas/topics";
import { keySentinels } from "./key-sentinels.ts";
import { Operator, type OperatorService, SERVICES } from "./operator.ts";
import { PASSPHRASE, PLANT, Plant } from "./plant.ts";
import type { Client } from "./recording-proxy.ts";
import type { Artefact } from "./search.ts";
import type { Sentinel } from "./sentinel.ts";
import { GATEWAYS, type GatewayName, sentinelDeployment, sentinelTelemetry, type Telemetry } from "./telemetry.ts";
import { riskSentinels, telemetrySentinels } from "./telemetry-sentinels.ts";

const NAMES_MACHINE = join(import.meta.dirname, "mutants/names-machine.ts");

export type Setting = {
  /** Default public. */
  readonly keyMode?: KeyMode;
};

/** Mistakes that give something away, each made by somebody who works with the real thing. */
export type Mistakes = {
  /** A deployment for tests, whose scheme does not encrypt, goes to a plant. */
  readonly scheme?: Scheme;
  /** The console writes its risks to the operator's time-series database. */
  readonly consoleWritesToOperator?: boolean;
  /** Somebody copies a gateway's folder to the operator, as help with a question. */
  readonly carriesGateway?: GatewayName;
  /** An agent is changed, so that its connection is called by a machine. */
  readonly namesMachine?: GatewayName;
};

export type Run = {
  readonly deployed: Deployed;
  readonly telemetry: Telemetry;
  readonly risks: readonly StoredRisk[];
  readonly sentinels: readonly Sentinel[];
  /** One of those that the operator has. */
  readonly frame: Frame;
  readonly artefacts: readonly Artefact[];
  readonly plantFolder: string;
  readonly operatorFolder: string;
  /** Of the operator's processes, while they work. */
  readonly openFiles: readonly string[];
  /** Where the operator's programs are, and URLs of the modules that each service has loaded. */
  readonly installation: string;
  readonly modules: ReadonlyMap<OperatorService, readonly string[]>;
};

/** One plant with two gateways, one operator, from the first frame to the end of all processes. */
export async function runPlantAndOperator(folder: string, { keyMode = "public", ...mistakes }: Setting & Mistakes = {}): Promise<Run> {
  const deployed = sentinelDeployment(mistakes.scheme ?? "bgv", keyMode);
  const telemetry = sentinelTelemetry(deployed);
  const params = paramsFromDocument(deployed.deployment.params);
  await using operator = await Operator.found(join(folder, "operator"), deployed);
  await using plant = await Plant.found(join(folder, "plant"), operator.deployment, operator.service);
  plant.handOverRegister(operator.register);
  if (mistakes.carriesGateway !== undefined)
    cpSync(plantPaths(plant.folder).gateway(mistakes.carriesGateway), join(operator.folder, "question"), { recursive: true });
  const clients = plant.clients();
  await operator.start(plant.identityHash, clients);
  const console = await plant.startConsole(mistakes.consoleWritesToOperator ? operator.timeSeries.settings("console") : undefined);
  await Promise.all(
    GATEWAYS.map((gateway) => plant.send(gateway, telemetry, mistakes.namesMachine === gateway ? NAMES_MACHINE : undefined)),
  );
  const windows = [...telemetry.windows.values()].flat().length;
  const risks = await plant.risks(windows, deployed.deployment.cards[0]!.headId);
  await provokeDeadLetters(operator, clients);
  await operator.fetchPages();
  await operator.timeSeries.line(/frames_refused_total/);
  const openFiles = operator.openFiles();
  await console.stop("SIGTERM");
  operator.keepFiles("in use");
  await operator.stop();
  operator.keepFiles("at the end");
  return {
    deployed,
    telemetry,
    risks,
    sentinels: [
      ...telemetrySentinels(telemetry, params),
      ...riskSentinels(risks),
      ...(await keySentinels(plant.folder, PASSPHRASE, GATEWAYS, params)),
    ],
    frame: frameCodec.decode(operator.newestFrame()),
    artefacts: operator.artefacts(),
    plantFolder: plant.folder,
    operatorFolder: operator.folder,
    openFiles,
    installation: operator.installation,
    modules: new Map(SERVICES.map((service) => [service, operator.loadedModules(service)])),
  };
}

/**
 * Frames that are refused, sent by a gateway's own credentials: each leaves its reason and its first bytes. What is in them is encrypted, or
 * nobody's secret: whoever sends plaintext has told it, whatever becomes of it.
 */
async function provokeDeadLetters(operator: Operator, clients: readonly Client[]): Promise<void> {
  const [gateway, other] = GATEWAYS as [GatewayName, GatewayName];
  const { framesUrl } = ServiceDocument.parse(readJsonFile(operator.service, "service"));
  const { tls } = clients.find(({ name }) => name === gateway)!;
  await using connection = openMqtt({ url: framesUrl, clientId: "careless", logger: silentLogger(), tls: fixedTls(tls) });
  const frame = Buffer.from(operator.newestFrame());
  const changed = Buffer.from(frame);
  changed[changed.length >> 1]! ^= 1;
  const topic = framesTopic(PLANT, gateway);
  await Promise.all([
    connection.publish(topic, frame.subarray(0, frame.length - 1)),
    connection.publish(topic, changed),
    connection.publish(topic, Buffer.from("no envelope at all")),
    connection.publish(framesTopic(PLANT, other), frame),
    connection.publish(framesTopic("south", gateway), frame),
  ]);
}
