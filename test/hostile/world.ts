import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeKeystore } from "@smile/custody/keystore";
import type { FrameEncryptor } from "@smile/he/backend";
import { openEncryptor } from "@smile/he/open";
import { createAuthority } from "@smile/identity/authority";
import type { CertificateAndKey } from "@smile/identity/certify";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { writeJsonFile } from "@smile/runtime/json-file";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { signingKey } from "@smile/schemas/ed25519";
import { newSigningKey } from "@smile/schemas/signing-key";
import { ConsoleJournal } from "../faults/console-journal.ts";
import { freePort } from "../support/free-port.ts";
import { type SmallDeployment, smallDeployment } from "../support/small-deployment.ts";
import { ROOT } from "../support/smile-process.ts";
import { FakeOperator } from "./fake-operator.ts";
import { foundParty, type Party } from "./party.ts";
import { ServiceProcess } from "./service-process.ts";

const MAIN = join(ROOT, "cli/src/main.ts");
const PASSPHRASE = "a passphrase for an hour";
/** The least that a keystore may cost to open: these are not worth more. */
const CHEAP = { cost: 2 ** 10 };
const HOST = "127.0.0.1";
const YEAR = { days: 365 };

/** A console that runs, and what it has stored. */
export type Desk = { readonly plant: string; readonly process: ServiceProcess; readonly journal: ConsoleJournal };

/** Module that Node loads before the service: one that breaks it on purpose. */
export type Mutants = { readonly streamProcessor?: string; readonly modelService?: string; readonly console?: string };

/** An operator, two plants, and their services, each a process of its own; what flows between them is encrypted by real certificates. */
export type World = AsyncDisposable & {
  readonly folder: string;
  readonly small: SmallDeployment;
  readonly parties: readonly [Party, Party];
  readonly encryptors: ReadonlyMap<string, FrameEncryptor>;
  /** Keys of the model service: the one of the service document, and one that no document names any more. */
  readonly scoreSigner: KeyObject;
  readonly formerScoreSigner: KeyObject;
  readonly brokerCertificate: CertificateAndKey;
  readonly ports: { readonly frames: number; readonly scores: number };
  readonly log: Log;
  readonly streamProcessor: ServiceProcess;
  readonly modelService: ServiceProcess;
  /** The plants' own consoles. */
  readonly desks: readonly [Desk, Desk];
  /** A second console of the first plant, whose operator is the fake one. */
  readonly besieged: Desk;
  readonly fake: FakeOperator;
  readonly services: readonly ServiceProcess[];
  /** The files that services watch for the first plant's register. */
  readonly watchedRegisters: readonly { readonly service: ServiceProcess; readonly path: string }[];
};

export async function openWorld(folder: string, mutants: Mutants = {}): Promise<World> {
  await using opened = new AsyncDisposableStack();
  const small = opened.use(await smallDeployment({ scheme: "bgv" }));
  const { params } = small;
  const operator = await createAuthority({ name: "operator", ...YEAR });
  const brokerCertificate = await issueServerCertificate(operator, { hosts: [HOST, "localhost"], ...YEAR });
  const parties = [
    await foundParty("north", ["a1", "a2"], params, operator.certificate),
    await foundParty("south", ["b1", "b2"], params, operator.certificate),
  ] as const;
  const encryptors = new Map<string, FrameEncryptor>();
  for (const { plant, keystore } of parties) {
    const bytes = Buffer.from(keystore.keys[0]!.publicKey, "base64");
    encryptors.set(plant, opened.use(await openEncryptor(params, { mode: "public", bytes })));
  }
  const signer = newSigningKey("model-service");
  const ports = { frames: await freePort(), scores: await freePort() };
  const fake = opened.use(
    await FakeOperator.open({
      certificate: brokerCertificate,
      registers: parties.map(({ register }) => register),
      plant: parties[0].plant,
    }),
  );

  const { deployment, heads } = small.deployed;
  const path = (...parts: string[]) => join(folder, ...parts);
  const json = (file: string, value: unknown) => {
    writeJsonFile(path(file), value);
    return path(file);
  };
  const secret = (file: string, text: string) => {
    writeFileSync(path(file), text, { mode: 0o600 });
    return path(file);
  };
  const tlsFiles = (name: string, { certificate, key }: { certificate: string; key: string }) => {
    writeFileSync(path(`${name}.crt`), certificate);
    return { certificate: path(`${name}.crt`), key: secret(`${name}.key`, key) };
  };
  json("deployment.json", deployment);
  json("head.json", heads[0]);
  secret("signing-key.json", JSON.stringify(signer));
  secret("passphrase", PASSPHRASE);
  const document = (scoresPort: number) => ({
    kind: "service",
    version: 1,
    name: "operator",
    framesUrl: `mqtts://${HOST}:${ports.frames}`,
    scoresUrl: `mqtts://${HOST}:${scoresPort}`,
    certificateAuthority: operator.certificate,
    scoreSigners: [signer.publicKey],
    reads: { frame: [1], gap: [1] },
  });
  json("service.json", document(ports.scores));
  for (const { plant, keystore } of parties) await writeKeystore(path(`${plant}.keystore`), keystore, PASSPHRASE, CHEAP);
  /** Each service has copies of its own, as on machines of their own. */
  const registersOf = (service: string) =>
    parties.map(({ plant, register, identityHash }) => ({
      register: json(`${service}-${plant}-register.json`, register),
      identity: identityHash,
    }));

  const start = async (name: string, command: string, config: object, mutant?: string) => {
    const healthPort = await freePort();
    const health = { port: healthPort };
    const file = json(`${name}.json`, { ...config, health, logLevel: "warn", audit: path(`${name}-audit.db`) });
    const preload = mutant === undefined ? [] : ["--import", mutant];
    const argv = [...preload, MAIN, command, "--config", file];
    return opened.use(new ServiceProcess({ name, argv, healthPort, logPath: path(`${name}.log`) }));
  };
  const log = { path: path("log.db"), partitions: 2 };
  const brokerTls = tlsFiles("broker", brokerCertificate);
  const streamProcessor = await start(
    "stream-processor",
    "stream-processor",
    {
      log,
      deployments: [path("deployment.json")],
      plants: registersOf("stream-processor"),
      frames: { port: ports.frames, tls: brokerTls },
      scores: { port: ports.scores, tls: brokerTls },
    },
    mutants.streamProcessor,
  );
  const modelService = await start(
    "model-service",
    "model-service",
    {
      log,
      deployments: [{ deployment: path("deployment.json"), heads: [path("head.json")] }],
      plants: registersOf("model-service"),
      signingKey: path("signing-key.json"),
      threads: 1,
    },
    mutants.modelService,
  );
  const desk = async (name: string, party: Party, url: string): Promise<Desk> => {
    mkdirSync(path(name));
    const process = await start(
      name,
      "plant-console",
      {
        plant: party.plant,
        mqtt: { url, clientId: name },
        tls: tlsFiles(name, party.console),
        deployment: path("deployment.json"),
        service: path("service.json"),
        register: json(`${name}-register.json`, party.register),
        identity: party.identityHash,
        keystore: path(`${party.plant}.keystore`),
        passphraseFile: path("passphrase"),
        leases: party.leases,
        store: path(name, "console.db"),
      },
      mutants.console,
    );
    return { plant: party.plant, process, journal: opened.use(new ConsoleJournal(path(name, "console.db"))) };
  };
  const operatorUrl = `mqtts://${HOST}:${ports.scores}`;
  const desks = [await desk("north-console", parties[0], operatorUrl), await desk("south-console", parties[1], operatorUrl)] as const;
  const besieged = await desk("besieged-console", parties[0], fake.url);
  const services = [streamProcessor, modelService, ...desks.map(({ process }) => process), besieged.process];
  await Promise.all(services.map((service) => service.ready()));
  // Opened last: the services have made its topics.
  const harnessLog = opened.use(await openEmbeddedLog({ path: log.path, logger: silentLogger() }));
  const north = parties[0].plant;
  const owned = opened.move();
  return {
    folder,
    small,
    parties,
    encryptors,
    scoreSigner: signingKey(signer.secretKey),
    formerScoreSigner: generateKeyPairSync("ed25519").privateKey,
    brokerCertificate,
    ports,
    log: harnessLog,
    streamProcessor,
    modelService,
    desks,
    besieged,
    fake,
    services,
    watchedRegisters: [
      { service: streamProcessor, path: path(`stream-processor-${north}-register.json`) },
      { service: modelService, path: path(`model-service-${north}-register.json`) },
    ],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
