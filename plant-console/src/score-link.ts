import type { Logger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { type CursorMessage, encodeCursor } from "@smile/schemas/cursor";
import { cursorTopic, scoresTopic } from "@smile/schemas/topics";

export type LinkHandlers = {
  /** A connection stands and receives: whatever comes from here on comes on it. Called again after each reconnection. */
  readonly onConnected: () => void;
  /** A Delivery envelope. Resolves when there is room for the next one. */
  readonly onDelivery: (payload: Uint8Array) => Promise<void>;
};

/** The console's way to the service: deliveries in, nothing but the cursor out. */
export interface ScoreLink extends AsyncDisposable {
  readonly connected: boolean;
  /** Resolves when the broker has the cursor; rejects when the link is disposed before. */
  sendCursor(cursor: CursorMessage): Promise<void>;
}
export type OpenScoreLink = (handlers: LinkHandlers) => ScoreLink;

/** A link over MQTT. The session is a clean one: what was on its way when a connection broke is asked for again. */
export function mqttScoreLink(options: { url: string; plant: string; clientId?: string | undefined; logger: Logger }): OpenScoreLink {
  const { url, plant, logger } = options;
  return ({ onConnected, onDelivery }) => {
    const connection = openMqtt({
      url,
      clientId: options.clientId ?? `${plant}-console`,
      logger,
      subscribe: { filters: [scoresTopic(plant)], handle: (_, payload) => onDelivery(payload) },
      onReady: onConnected,
    });
    return {
      get connected() {
        return connection.connected;
      },
      sendCursor: (cursor) => connection.publish(cursorTopic(plant), encodeCursor(cursor)),
      [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
    };
  };
}
