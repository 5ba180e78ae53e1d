import type { Logger } from "@smile/runtime/logging";
import { startBroker } from "@smile/runtime/mqtt-broker";
import { openMqtt } from "@smile/runtime/mqtt-client";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import type { Arrival } from "./admission-checks.ts";
import { brokerOptions, clientOptions, type Endpoint, type EndpointState, isExternal } from "./endpoint.ts";

export type Intake = AsyncDisposable & EndpointState;

/**
 * Takes frames off MQTT. Through a broker in this process, a gateway's PUBACK waits for `receive`. Behind an external broker, that broker
 * has acknowledged already; what waits for `receive` is its message to us, which it keeps in our session until then. Frames come one after
 * the other there, so that they stay in order, each kind of work in a session of its own: frames of jobs wait while others are scored,
 * and none of a stream behind them. Who sent them is for that broker to check, and for their signatures to prove.
 * @param work what is deployed: nothing else is asked for at an external broker
 * @param plants with TLS, whose gateways may connect
 * @param receive resolves when the message is taken over; when it rejects, the message comes again
 * @param onFailure called when the external broker refuses the subscription
 * @throws {PipelineError} BROKER_DOWN when a broker in this process cannot listen, TLS_REQUIRED
 */
export async function openIntake(options: {
  readonly endpoint: Endpoint;
  readonly work: readonly WorkKind[];
  readonly plants: PlantRegistry;
  readonly receive: (arrival: Arrival) => Promise<void>;
  readonly logger: Logger;
  readonly onFailure: (error: unknown) => void;
}): Promise<Intake> {
  const { endpoint, plants, receive, logger } = options;
  if (!isExternal(endpoint)) {
    // Nobody may subscribe to anything.
    const broker = await startBroker({ ...brokerOptions(endpoint, plants), logger, authorizePublish: receive });
    return { url: broker.url, connected: true, cutOff: broker.cutOff, [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose]() };
  }
  const { clientId, ...client } = clientOptions(endpoint);
  const connections = options.work.map((work) =>
    openMqtt({
      ...client,
      clientId: work === "jobs" ? `${clientId}-jobs` : clientId,
      logger,
      // The broker keeps what we have not acknowledged, also while we are away.
      persistentSession: true,
      subscribe: {
        filters: [WORK_TOPICS[work].mqtt.frames("+", "+")],
        handle: (topic, payload) => receive({ topic, payload, peer: null }),
      },
    }),
  );
  for (const connection of connections) connection.ready().catch(options.onFailure);
  return {
    url: endpoint.broker,
    get connected() {
      return connections.every(({ connected }) => connected);
    },
    cutOff: {},
    [Symbol.asyncDispose]: async () => {
      await Promise.all(connections.map((connection) => connection[Symbol.asyncDispose]()));
    },
  };
}
