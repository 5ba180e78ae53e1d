import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "@smile/runtime/logging";
import { startBroker } from "@smile/runtime/mqtt-broker";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { type CursorMessage, parseCursor } from "@smile/schemas/cursor";
import { cursorTopic, NAME, scoresTopic } from "@smile/schemas/topics";
import { type Endpoint, type EndpointState, isExternal } from "./endpoint.ts";

export type Delivery = AsyncDisposable &
  EndpointState & {
    /** Resolves when there is room for more: neither broker says whether the plant has it. Rejects when it is disposed. */
    publish(topic: string, payload: Uint8Array): Promise<void>;
  };

/**
 * The way to the plants over MQTT: scores out, cursors in. A cursor that is lost comes again, as the console repeats it, so nothing is kept
 * for us at an external broker.
 * @param onCursor a plant's cursor
 * @param onFailure called when the external broker refuses the subscription
 * @throws {PipelineError} BROKER_DOWN when a broker in this process cannot listen
 */
export async function openDelivery(options: {
  readonly endpoint: Endpoint;
  readonly onCursor: (plant: string, cursor: CursorMessage) => void;
  readonly logger: Logger;
  readonly onFailure: (error: unknown) => void;
}): Promise<Delivery> {
  const { endpoint, logger } = options;
  /** The one thing that plants may publish. Anything else is refused by resolving: sent again it would be the same. */
  const hear = async (topic: string, payload: Uint8Array) => {
    const plant = topic.split("/")[2] ?? "";
    try {
      if (!NAME.test(plant) || topic !== cursorTopic(plant))
        throw new PipelineError("FRAME_WRONG_SENDER", "plants publish nothing but their cursor");
      options.onCursor(plant, parseCursor(payload));
    } catch (error) {
      if (!isPipelineError(error)) throw error;
      logger.warn({ code: error.code }, "ignored a message to the delivery broker");
    }
  };

  if (!isExternal(endpoint)) {
    const broker = await startBroker({
      ...endpoint,
      logger,
      authorizePublish: ({ topic, payload }) => hear(topic, payload),
      authorizeSubscribe: async (_, filter) => isScoresTopic(filter),
    });
    return {
      url: broker.url,
      connected: true,
      cutOff: broker.cutOff,
      publish: (topic, payload) => broker.publish(topic, payload),
      [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
    };
  }
  const connection = openMqtt({
    url: endpoint.broker,
    clientId: endpoint.clientId,
    logger,
    subscribe: { filters: [cursorTopic("+")], handle: hear },
  });
  connection.ready().catch(options.onFailure);
  return {
    url: endpoint.broker,
    get connected() {
      return connection.connected;
    },
    cutOff: {},
    publish: (topic, payload) => connection.publish(topic, payload),
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}

/** Plants subscribe to the scores of one plant; wildcards would reach the others'. */
function isScoresTopic(filter: string): boolean {
  const plant = filter.split("/")[2] ?? "";
  return NAME.test(plant) && filter === scoresTopic(plant);
}
