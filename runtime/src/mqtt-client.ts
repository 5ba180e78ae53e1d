import { Socket } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import mqtt, { type IStore, type Packet } from "mqtt";
import type { Logger } from "./logging.ts";
import { requireTlsUrl } from "./tls-config.ts";
import type { TlsSource } from "./tls-files.ts";

/** Receives a message; resolving acknowledges it (PUBACK). */
export type MessageHandler = (topic: string, payload: Uint8Array) => Promise<void>;

export type MqttOptions = {
  /** `mqtt://host:port` or `mqtts://host:port` */
  readonly url: string;
  readonly clientId: string;
  readonly logger: Logger;
  /**
   * For `mqtts:` the certificate that the broker asks for, and the authority that must have issued the broker's for the host of the URL.
   * When it is renewed, the connection is made anew with it; what was not acknowledged is sent again.
   */
  readonly tls?: TlsSource | undefined;
  /** `WITHOUT_TLS`, to connect beyond this machine by `mqtt:` all the same. */
  readonly withoutTls?: string | undefined;
  /**
   * What to receive. Messages are handled one after the other. When the handler rejects, the message is not acknowledged and the
   * connection is made anew; only a persistent session gets it again then.
   */
  readonly subscribe?: { readonly filters: readonly string[]; readonly handle: MessageHandler };
  /** Called each time the connection stands and what it subscribes to is granted: whatever comes from here on comes on it. */
  readonly onReady?: () => void;
  /** The broker keeps subscriptions and what could not be delivered while this client is away. Default false. */
  readonly persistentSession?: boolean;
  /** Largest packet that is sent; default 1 MiB. */
  readonly maxPacketBytes?: number;
  /** At least 30 s, the default 60 s: a broker that holds an acknowledgement back cannot answer a ping either. */
  readonly keepaliveSeconds?: number;
  /** Waits between attempts to connect: doubled from the first to the last, less up to a half at random. Default 250 ms to 15 s. */
  readonly reconnectMs?: { readonly first: number; readonly last: number };
};

export interface MqttConnection extends AsyncDisposable {
  readonly connected: boolean;
  /**
   * Resolves when the connection stands and what it subscribes to is granted.
   * @throws PipelineError BROKER_REFUSED for a subscription, STOPPED after dispose; the signal's reason when aborted
   */
  ready(signal?: AbortSignal): Promise<void>;
  /**
   * Publishes with QoS 1 and resolves on PUBACK. While the broker is away the message waits in memory and is sent after reconnecting, in
   * order; whoever calls this bounds how many wait.
   * @throws PipelineError MESSAGE_TOO_LARGE, or STOPPED when disposed before the acknowledgement
   */
  publish(topic: string, payload: Uint8Array): Promise<void>;
}

type Message = {
  readonly topic: string;
  readonly payload: Buffer;
  readonly acknowledged: PromiseWithResolvers<void>;
  packetId?: number;
};

const failedGrant = 128;
/** MQTT 3.1.1, 2.2 and 3.3: fixed header of at most 5 bytes, length of the topic, packet identifier. */
const publishOverheadBytes = 5 + 2 + 2;
const minKeepaliveSeconds = 30;
/** How long dispose waits for acknowledgements and for the handler under way. */
const drainMs = 2000;

/**
 * Opens a connection that is kept up until it is disposed: it returns at once, connects in the background and comes back by itself.
 * @throws {RangeError} when `keepaliveSeconds` is below 30
 * @throws {PipelineError} TLS_REQUIRED for `mqtt:` beyond this machine; CONFIG_INVALID for `mqtt:` with `tls`
 */
export function openMqtt(options: MqttOptions): MqttConnection {
  const { logger, subscribe, maxPacketBytes = 1 << 20, keepaliveSeconds = 60 } = options;
  const { first, last } = options.reconnectMs ?? { first: 250, last: 15_000 };
  if (keepaliveSeconds < minKeepaliveSeconds) throw new RangeError(`keepaliveSeconds is ${keepaliveSeconds}; it must be at least 30`);
  requireTlsUrl(options.url, options.withoutTls);
  const { tls } = options;
  if (tls && new URL(options.url).protocol !== "mqtts:") {
    throw new PipelineError("CONFIG_INVALID", "url: tls means something with mqtts: only");
  }
  const url = withoutSecrets(options.url);

  const client = mqtt.connect(options.url, {
    ...(tls ? tlsOptions(tls) : {}),
    clientId: options.clientId,
    clean: !options.persistentSession,
    keepalive: keepaliveSeconds,
    reconnectPeriod: first,
    reconnectOnConnackError: true,
    resubscribe: false, // done below, where a refusal is seen
    outgoingStore: new ForgetfulStore(),
    manualConnect: true, // so that no message arrives before its handler is in place
  });
  const stopping = new AbortController();
  /** In the order of the calls, which is the order in which they are sent again on the next connection. */
  const unacknowledged = new Set<Message>();
  let up = false;
  let ready = Promise.withResolvers<void>();
  let isReady = false;
  let handling: Promise<void> = Promise.resolve();
  let isHandling = false;
  let lastError: unknown;
  let hasBeenRefused = false;

  client.on("connect", () => {
    up = true;
    for (const message of unacknowledged) transmit(message);
    client.options.reconnectPeriod = first;
    // Nagle's algorithm and delayed acknowledgements together hold small messages back for some 40 ms.
    if (client.stream instanceof Socket) client.stream.setNoDelay(true);
    lastError = undefined;
    hasBeenRefused = false;
    settleReady().catch((error: unknown) => logger.warn({ err: error }, "subscription failed"));
  });
  client.on("reconnect", () => {
    // mqtt.js waits a fixed time; this is what it waits before the attempt after this one.
    const doubled = Math.min(last, (client.options.reconnectPeriod ?? first) * 2);
    client.options.reconnectPeriod = Math.max(first, Math.round(doubled * (1 - Math.random() / 2)));
  });
  client.on("error", (error) => {
    // The same complaint at every attempt says nothing new.
    if (String(error) !== String(lastError)) logger.warn({ err: error, url }, "connection failed; trying again");
    lastError = error;
  });
  client.on("close", () => {
    // With TLS 1.3 a client's own handshake is over before the broker has looked at its certificate.
    const isRefused = tls !== undefined && !up && lastError === undefined;
    if (isRefused && !hasBeenRefused && !stopping.signal.aborted) {
      hasBeenRefused = true;
      logger.warn({ url }, "closed before an answer: the broker may not know this certificate; trying again");
    }
    up = false;
    for (const message of unacknowledged) forget(message);
    if (isReady) ready = Promise.withResolvers<void>();
    isReady = false;
    if (!stopping.signal.aborted) logger.info({ url }, "not connected");
  });
  if (subscribe) client.handleMessage = handleInTurn(subscribe.handle);
  tls?.onChange(() => {
    if (stopping.signal.aborted) return;
    Object.assign(client.options, tlsOptions(tls));
    client.stream?.destroy(); // it comes back with the new certificate; between two attempts there is none
  });
  client.connect();

  return {
    get connected() {
      return client.connected;
    },

    async ready(signal) {
      const stop = signal ? AbortSignal.any([signal, stopping.signal]) : stopping.signal;
      const stopped = Promise.withResolvers<never>();
      const onStop = () => stopped.reject(signal?.aborted ? signal.reason : new PipelineError("STOPPED", "the connection is closed"));
      if (stop.aborted) onStop();
      stop.addEventListener("abort", onStop);
      try {
        await Promise.race([stopped.promise, ready.promise]);
      } finally {
        stop.removeEventListener("abort", onStop);
      }
    },

    async publish(topic, payload) {
      if (stopping.signal.aborted) throw new PipelineError("STOPPED", "the connection is closed");
      const packetBytes = publishOverheadBytes + Buffer.byteLength(topic) + payload.length;
      if (packetBytes > maxPacketBytes) {
        const facts = { topic, packetBytes, maxPacketBytes };
        throw new PipelineError("MESSAGE_TOO_LARGE", `a message to ${topic} needs ${packetBytes} bytes of ${maxPacketBytes}`, facts);
      }
      const acknowledged = Promise.withResolvers<void>();
      const message = { topic, payload: Buffer.from(payload.buffer, payload.byteOffset, payload.length), acknowledged };
      unacknowledged.add(message);
      if (up) transmit(message);
      await acknowledged.promise;
    },

    async [Symbol.asyncDispose]() {
      if (stopping.signal.aborted) return;
      stopping.abort();
      if (client.connected) {
        const drained = Promise.allSettled([handling, ...[...unacknowledged].map(({ acknowledged }) => acknowledged.promise)]);
        await Promise.race([drained, delay(drainMs, undefined, { ref: false })]);
      }
      client.options.reconnectPeriod = 0;
      // A clean end waits for every answer, and for the handler, as long as it takes; with one missing, only a forced one ends.
      await client.endAsync(unacknowledged.size > 0 || !isReady || isHandling);
      const closed = new PipelineError("STOPPED", "the connection was closed before the acknowledgement");
      for (const { acknowledged } of unacknowledged) acknowledged.reject(closed);
      unacknowledged.clear();
    },
  };

  function transmit(message: Message): void {
    client.publish(message.topic, message.payload, { qos: 1 }, (error) => {
      if (error) return; // the connection broke: it is sent again on the next one
      unacknowledged.delete(message);
      message.acknowledged.resolve();
    });
    message.packetId = client.getLastMessageId();
  }

  /** An acknowledgement that a broken connection still owes must not be taken for one of the next. */
  function forget(message: Message): void {
    if (message.packetId !== undefined) client.removeOutgoingMessage(message.packetId);
    delete message.packetId;
  }

  async function settleReady(): Promise<void> {
    const waiting = ready;
    try {
      if (subscribe) {
        const granted = await client.subscribeAsync([...subscribe.filters], { qos: 1 });
        const refused = granted.find(({ qos }) => qos === failedGrant);
        if (refused) throw refusal(refused.topic);
      }
      logger.info({ url }, "connected");
      if (waiting === ready) isReady = true;
      waiting.resolve();
      options.onReady?.();
    } catch (error) {
      if (!client.connected) return; // the next connection asks again
      waiting.promise.catch(() => {});
      waiting.reject(error instanceof PipelineError ? error : refusal(subscribe?.filters.join(", ") ?? "", error));
      isReady = true; // a later connection starts afresh
    }
  }

  function refusal(filter: string, cause?: unknown): PipelineError {
    return new PipelineError("BROKER_REFUSED", `the broker does not let ${options.clientId} subscribe to ${filter}`, { filter }, cause);
  }

  /** mqtt.js handles the next message, and acknowledges this one, when the callback is called. */
  function handleInTurn(handle: MessageHandler): typeof client.handleMessage {
    return ({ topic, payload }, acknowledge) => {
      if (stopping.signal.aborted) return; // not handled, so not acknowledged
      const stream = client.stream;
      isHandling = true;
      handling = handle(topic, typeof payload === "string" ? Buffer.from(payload) : payload)
        .finally(() => {
          isHandling = false;
        })
        .then(
          () => acknowledge(),
          (error: unknown) => {
            logger.warn({ err: error, topic }, "message not handled; connecting anew");
            stream.destroy(); // without calling back: what came behind it on this connection must not overtake it
          },
        );
    };
  }
}

/** The URL for log lines: as it was given, but for a name and a password. */
function withoutSecrets(text: string): string {
  const url = new URL(text);
  url.username = "";
  url.password = "";
  return url.href;
}

function tlsOptions({ current }: TlsSource) {
  const { certificate, key, authority } = current;
  return { cert: certificate, key, ca: authority, minVersion: "TLSv1.2" as const, rejectUnauthorized: true };
}

/**
 * Keeps mqtt.js from sending again by itself: it does so one message at a time, lets new ones overtake the old, and fails those that
 * come while it is at it when the connection breaks again. `openMqtt` sends again instead.
 */
class ForgetfulStore implements IStore {
  put(_packet: Packet, done: () => void): this {
    done();
    return this;
  }
  createStream(): ReturnType<IStore["createStream"]> {
    return Readable.from([]) as unknown as ReturnType<IStore["createStream"]>;
  }
  del(packet: Packet, done: (error?: Error, packet?: Packet) => void): this {
    done(undefined, packet);
    return this;
  }
  get(_packet: Packet, done: (error?: Error) => void): this {
    done(new Error("nothing is kept"));
    return this;
  }
  close(done: () => void): void {
    done();
  }
}
