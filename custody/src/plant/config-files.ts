import { existsSync, statSync } from "node:fs";
import { readJsonFile, writeJsonFile } from "@smile/runtime/json-file";
import { isLoopback, WITHOUT_TLS } from "@smile/runtime/tls-config";
import type { ServiceDocument } from "@smile/schemas/service-document";

/** Where a plant's own brokers listen as long as no service document tells. */
const LOCAL_URLS = { framesUrl: "mqtt://127.0.0.1:1883", scoresUrl: "mqtt://127.0.0.1:1884" } as const;

export type Connection = { readonly service: ServiceDocument | null; readonly tls: boolean };

/**
 * How to reach a broker, for a configuration.
 * @returns `tls` where the URL asks for it; where it leads beyond this machine without, what that means
 */
export function brokerConnection(which: "framesUrl" | "scoresUrl", { service, tls }: Connection) {
  const url = (service ?? LOCAL_URLS)[which];
  if (url.startsWith("mqtts:")) {
    const authority = service?.certificateAuthority === null ? {} : { authority: "authority.pem" };
    return { mqtt: { url }, tls: { certificate: "certificate.pem", key: "key.pem", ...authority } };
  }
  return tls || isLoopback(new URL(url).hostname) ? { mqtt: { url } } : { mqtt: { url }, withoutTls: WITHOUT_TLS };
}

/**
 * edge-agent.json: reads rows from its standard input, until somebody configures another source.
 * @param identity hash of the plant's identity, which must have signed the register that the gateway's keys are checked against
 */
export function agentConfiguration(
  plant: string,
  gateway: string,
  keyMode: "public" | "symmetric",
  { identity, ...with_ }: Connection & { readonly identity: string },
): object {
  return {
    plant,
    gateway,
    register: "register.json",
    identity,
    deployment: "deployment.json",
    lease: "lease.json",
    key: keyFile(keyMode),
    signingKey: "signing-key.json",
    ...(with_.service === null ? {} : { service: "service.json" }),
    ...brokerConnection("framesUrl", with_),
    store: "edge-agent.db",
    source: { kind: "stdin" },
  };
}

/**
 * segment-source.json: sends records as jobs, by a mapping that the analyst puts beside it.
 * @param identity hash of the plant's identity, which must have signed the register that the gateway's keys are checked against
 */
export function sourceConfiguration(
  plant: string,
  gateway: string,
  keyMode: "public" | "symmetric",
  { identity, ...with_ }: Connection & { readonly identity: string },
): object {
  return {
    plant,
    gateway,
    register: "register.json",
    identity,
    deployment: "deployment.json",
    mapping: "mapping.json",
    key: keyFile(keyMode),
    signingKey: "signing-key.json",
    ...(with_.service === null ? {} : { service: "service.json" }),
    ...brokerConnection("framesUrl", with_),
    store: "jobs.db",
    people: "people",
    pseudonymKey: "pseudonym-key.json",
    audit: "audit.db",
  };
}

/** Configurations of a gateway's folder; it has the one of its kind. */
export const GATEWAY_CONFIGURATIONS = { machines: "edge-agent.json", records: "segment-source.json" } as const;

/** The file of a gateway's folder that holds what it encrypts with. */
export function keyFile(keyMode: "public" | "symmetric"): string {
  return keyMode === "public" ? "public-key.json" : "gateway-key.json";
}

/** Of a plant's console, in a folder of its own. */
export type ConsoleConnection = Connection & {
  /** Hash of the plant's identity. */
  readonly identity: string;
  /** Relative to that folder; undefined where the passphrase comes from the environment. */
  readonly passphraseFile: string | undefined;
};

/** Configurations of the console's folder; it has the one of its kind. */
export const CONSOLE_CONFIGURATIONS = { machines: "plant-console.json", records: "segment-console.json" } as const;

/** plant-console.json. */
export function consoleConfiguration(plant: string, connection: ConsoleConnection): object {
  return { ...consoleSources(plant, connection), leases: "leases.json", store: "plant-console.db" };
}

/**
 * segment-console.json, for records of people. Nobody may ask or release yet: whoever may is added by hand. The people files are where
 * a source beside it writes them whose gateway has the name `records`.
 * @param profiles whether there are profiles of the model's segments in the folder
 */
export function segmentConsoleConfiguration(plant: string, connection: ConsoleConnection, profiles: boolean): object {
  return {
    ...consoleSources(plant, connection),
    store: "segment-console.db",
    people: "../gateways/records/people",
    ...(profiles ? { profiles: PROFILES } : {}),
    analysts: [],
    releasers: [],
  };
}

/** What segments are like, in the console's folder: private to the organisation. */
export const PROFILES = "profiles.json";

function consoleSources(plant: string, { identity, passphraseFile, ...with_ }: ConsoleConnection): object {
  return {
    plant,
    deployment: "../deployment.json",
    keystore: "../keystore.json",
    register: "../register.json",
    identity,
    service: "../service.json",
    audit: "../audit.db",
    ...(passphraseFile === undefined ? {} : { passphraseFile }),
    ...brokerConnection("scoresUrl", with_),
  };
}

/**
 * Changes a configuration that stands there, which somebody may have added to: a token too, so its mode stays as it is. Does nothing
 * where there is none, since its folder was carried away.
 */
export function changeConfiguration(path: string, change: (configured: Readonly<Record<string, unknown>>) => object): void {
  if (!existsSync(path)) return;
  const configured = readJsonFile(path, "configuration") as Readonly<Record<string, unknown>>;
  writeJsonFile(path, change(configured), statSync(path).mode & 0o777);
}
