import type { Logger } from "@smile/runtime/logging";
import { startBroker } from "@smile/runtime/mqtt-broker";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { framesTopic } from "@smile/schemas/topics";
import { type Endpoint, type EndpointState, isExternal } from "./endpoint.ts";

export type Intake = AsyncDisposable & EndpointState;

/**
 * Takes frames off MQTT. Through a broker in this process, a gateway's PUBACK waits for `receive`. Behind an external broker, that broker
 * has acknowledged already; what waits for `receive` is its message to us, which it keeps in our session until then. Frames come one after
 * the other there, so that they stay in order.
 * @param receive resolves when the message is taken over; when it rejects, the message comes again
 * @param onFailure called when the external broker refuses the subscription
 * @throws {PipelineError} BROKER_DOWN when a broker in this process cannot listen
 */
export async function openIntake(options: {
  readonly endpoint: Endpoint;
  readonly receive: (topic: string, payload: Uint8Array) => Promise<void>;
  readonly logger: Logger;
  readonly onFailure: (error: unknown) => void;
}): Promise<Intake> {
  const { endpoint, receive, logger } = options;
  if (!isExternal(endpoint)) {
    const broker = await startBroker({ ...endpoint, logger, authorizePublish: ({ topic, payload }) => receive(topic, payload) });
    return { url: broker.url, connected: true, cutOff: broker.cutOff, [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose]() };
  }
  const connection = openMqtt({
    url: endpoint.broker,
    clientId: endpoint.clientId,
    logger,
    // The broker keeps what we have not acknowledged, also while we are away.
    persistentSession: true,
    subscribe: { filters: [framesTopic("+", "+")], handle: receive },
  });
  connection.ready().catch(options.onFailure);
  return {
    url: endpoint.broker,
    get connected() {
      return connection.connected;
    },
    cutOff: {},
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}
