import type { BrokerLimits, CutOff } from "@smile/runtime/mqtt-broker";

/** A broker in this process. Port 0 takes a free one. */
export type Listen = { readonly host: string; readonly port: number; readonly limits?: Partial<BrokerLimits> };

/**
 * A broker elsewhere, such as Mosquitto. Nobody else may use the client id: two would throw each other out.
 * What it has acknowledged is as safe as its own persistence, see docs/operations.md.
 */
export type ExternalBroker = { readonly broker: string; readonly clientId: string };

/** Where messages come from or go to. */
export type Endpoint = Listen | ExternalBroker;

export function isExternal(endpoint: Endpoint): endpoint is ExternalBroker {
  return "broker" in endpoint;
}

/** How an endpoint does. */
export type EndpointState = {
  readonly url: string;
  /** False while an external broker cannot be reached. */
  readonly connected: boolean;
  /** Connections that a broker in this process has cut off, by reason. */
  readonly cutOff: Readonly<Partial<Record<CutOff, number>>>;
};
