import type { Logger } from "@smile/runtime/logging";
import { type MqttOptions, openMqtt } from "@smile/runtime/mqtt-client";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import type { FrameSender } from "./publisher.ts";

export interface MqttFrameSender extends FrameSender, AsyncDisposable {
  readonly connected: boolean;
}

/**
 * Sends frames to `smile/v1/{plant}/{gateway}/frames`, those of jobs to `.../jobs`, with QoS 1. Connects in the background and comes back by itself; what was sent
 * and not acknowledged is sent again then. The publisher bounds how many frames wait here.
 * @param options.kind default `streams`; jobs have a connection of their own, for their frames wait while the service is busy
 * @param options.url `mqtt://host:port` or `mqtts://host:port`
 * @param options.tls the gateway's certificate, for `mqtts:`
 * @param options.onConnected called each time a connection stands
 * @param options.largestBytes largest packet that the broker takes: a larger one is refused here, before it costs the connection
 * @throws {PipelineError} TLS_REQUIRED for `mqtt:` beyond this machine without `withoutTls`; CONFIG_INVALID for `mqtt:` with `tls`
 */
export function openMqttFrameSender(options: {
  url: string;
  plant: string;
  gateway: string;
  kind?: WorkKind;
  logger: Logger;
  largestBytes?: number;
  onConnected?: () => void;
  reconnectMs?: { readonly first: number; readonly last: number };
  tls?: MqttOptions["tls"];
  withoutTls?: MqttOptions["withoutTls"];
}): MqttFrameSender {
  const { url, plant, gateway, kind = "streams", logger, largestBytes, onConnected, reconnectMs, tls, withoutTls } = options;
  const connection = openMqtt({
    url,
    clientId: `smile-edge-${plant}-${gateway}${kind === "jobs" ? "-jobs" : ""}`,
    logger,
    tls,
    withoutTls,
    ...(largestBytes === undefined ? {} : { maxPacketBytes: largestBytes }),
    ...(onConnected === undefined ? {} : { onReady: onConnected }),
    ...(reconnectMs === undefined ? {} : { reconnectMs }),
  });
  const topic = WORK_TOPICS[kind].mqtt.frames(plant, gateway);
  return {
    get connected() {
      return connection.connected;
    },
    send: (envelope) => connection.publish(topic, envelope),
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}
