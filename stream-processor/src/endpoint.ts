import type { Broker, BrokerLimits, BrokerOptions } from "@smile/runtime/mqtt-broker";
import type { MqttOptions } from "@smile/runtime/mqtt-client";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import type { TlsSource } from "@smile/runtime/tls-files";

type Security = {
  readonly tls?: TlsSource | undefined;
  /** `WITHOUT_TLS`, to go without beyond this machine all the same. */
  readonly withoutTls?: string | undefined;
};

/** A broker in this process. Port 0 takes a free one. With TLS it asks for a certificate of a registered plant. */
export type Listen = Security & { readonly host: string; readonly port: number; readonly limits?: Partial<BrokerLimits> };

/**
 * A broker elsewhere, such as Mosquitto. Nobody else may use the client id: two would throw each other out.
 * What it has acknowledged is as safe as its own persistence, and who may publish and subscribe is its own affair: see
 * docs/operations.md.
 */
export type ExternalBroker = Security & { readonly broker: string; readonly clientId: string };

/** Where messages come from or go to. */
export type Endpoint = Listen | ExternalBroker;

export function isExternal(endpoint: Endpoint): endpoint is ExternalBroker {
  return "broker" in endpoint;
}

/** What a broker in this process is started with, whatever it is for. */
export function brokerOptions({ tls, ...listen }: Listen, registry: PlantRegistry): Omit<BrokerOptions, "logger" | "authorizePublish"> {
  return tls === undefined ? listen : { ...listen, tls: { credentials: tls, registry } };
}

/** What the connection to a broker elsewhere is opened with. */
export function clientOptions({
  broker,
  clientId,
  tls,
  withoutTls,
}: ExternalBroker): Pick<MqttOptions, "url" | "clientId" | "tls" | "withoutTls"> {
  return { url: broker, clientId, tls, withoutTls };
}

/** How an endpoint does. */
export type EndpointState = {
  readonly url: string;
  /** False while an external broker cannot be reached. */
  readonly connected: boolean;
  /** Connections that a broker in this process has cut off, by reason. */
  readonly cutOff: Broker["cutOff"];
};
