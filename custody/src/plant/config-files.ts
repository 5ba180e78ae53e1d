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

/**
 * plant-console.json, in a folder of the plant's.
 * @param identity hash of the plant's identity
 * @param passphraseFile relative to that folder; undefined where the passphrase comes from the environment
 */
export function consoleConfiguration(
  plant: string,
  { identity, passphraseFile, ...with_ }: Connection & { readonly identity: string; readonly passphraseFile: string | undefined },
): object {
  return {
    plant,
    deployment: "../deployment.json",
    keystore: "../keystore.json",
    register: "../register.json",
    identity,
    service: "../service.json",
    leases: "leases.json",
    store: "plant-console.db",
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
