import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { PipelineError } from "@smile/errors/pipeline-error";
import { Aedes, type AedesOptions, type Client } from "aedes";
import type { Logger } from "./logging.ts";

/** A message that a client wants to publish. `payload` is only valid until the hook has answered. */
export type Publication = { readonly clientId: string; readonly topic: string; readonly payload: Uint8Array };

export type BrokerOptions = {
  /** 0 takes a free one; the broker's `port` tells which. */
  readonly port: number;
  /** Default 127.0.0.1: nobody but this machine. */
  readonly host?: string;
  readonly logger: Logger;
  /**
   * Takes a message over. Resolving acknowledges it (PUBACK); rejecting, or taking longer than `hookTimeoutMs`, closes the client's
   * connection without acknowledging, so that it sends this message and those after it again. A message that will never be accepted must
   * therefore resolve, or it comes back for ever. Messages of one client are handed over without waiting for each other and acknowledged
   * in their order. A message can come twice: recognise it by an id of its own. No subscriber ever receives it: what subscribers get
   * is what `publish` of this broker sends.
   */
  readonly authorizePublish: (publication: Publication) => Promise<void>;
  /** Whether a client may receive what matches a topic filter. Without it nobody may subscribe: a frozen subscriber stalls publishers. */
  readonly authorizeSubscribe?: (clientId: string, filter: string) => Promise<boolean>;
  /** Default 5 s; keep it well under the clients' keepalive, which this broker cannot answer while it holds a message back. */
  readonly hookTimeoutMs?: number;
};

export interface Broker extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** `mqtt://host:port` */
  readonly url: string;
  readonly connectedClients: number;
  /** Sends to every subscriber with QoS 1. Resolves when each has room for more, not when it has acknowledged. */
  publish(topic: string, payload: Uint8Array): Promise<void>;
}

/** With Node's default of 64 KiB a client's pipelining dies behind a slow hook: 207 instead of 1,747 messages of 43 KB per second. */
const socketBufferBytes = 1 << 20;
/** What a client publishes is for the hook alone. aedes would pass it on: one plant could send another scores of its own making. */
const nobodysTopic = "$taken";
/** A subscriber that takes nothing for this long is cut off; until then it holds up whoever publishes to it. */
const drainTimeoutMs = 5000;

/**
 * Starts an MQTT 3.1.1 broker in this process that acknowledges a message only after `authorizePublish` has taken it over.
 * Retained messages and wills of clients are not accepted: neither is a message that somebody took over.
 * Disposing lets the hooks under way answer, ends every connection and frees the port.
 * @throws PipelineError BROKER_DOWN when it cannot listen
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { logger, host = "127.0.0.1", hookTimeoutMs = 5000, authorizeSubscribe } = options;
  const answers = new AnswersInOrder();
  let stopping = false;

  const authorizePublish: AedesOptions["authorizePublish"] = (client, packet, answer) => {
    // Once a client is gone, what aedes still asks about is its will: no frame, and nobody waits for an acknowledgement.
    if (client === null || client.closed) return answer(new Error("wills are not accepted"));
    if (stopping) return; // without an answer there is no PUBACK: the client sends it again to whoever comes next
    packet.retain = false;
    const publication = { clientId: client.id, topic: packet.topic, payload: payloadOf(packet.payload) };
    packet.topic = nobodysTopic;
    const taken = within(hookTimeoutMs, () => options.authorizePublish(publication));
    answers.add(client, taken, (error) => {
      if (error) logger.warn({ err: error, client: client.id, topic: publication.topic }, "message not taken over; closing its connection");
      answer(error);
    });
  };

  const broker = await Aedes.createBroker({
    drainTimeout: drainTimeoutMs,
    authorizePublish,
    authorizeSubscribe: (client, subscription, answer) => {
      const allowed = authorizeSubscribe?.(client.id, subscription.topic) ?? Promise.resolve(false);
      allowed.then(
        (yes) => answer(null, yes ? subscription : null),
        (error: unknown) => answer(asError(error)),
      );
    },
  });
  broker.on("clientError", (client, error) => logger.debug({ err: error, client: client.id }, "client error"));
  broker.on("connectionError", (_, error) => logger.debug({ err: error }, "connection error"));

  const sockets = new Set<Socket>();
  const server = createServer({ highWaterMark: socketBufferBytes, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    broker.handle(socket);
  });
  try {
    server.listen(options.port, host);
    await once(server, "listening");
  } catch (error) {
    await new Promise<void>((resolve) => broker.close(resolve));
    const facts = { host, port: options.port };
    throw new PipelineError("BROKER_DOWN", `cannot listen on ${host}:${options.port}: ${asError(error).message}`, facts, error);
  }
  server.on("error", (error) => logger.error({ err: error }, "broker's listener failed"));
  const { port } = server.address() as AddressInfo;

  return {
    host,
    port,
    url: `mqtt://${host.includes(":") ? `[${host}]` : host}:${port}`,
    get connectedClients() {
      return broker.connectedClients;
    },
    publish: (topic, payload) => {
      if (stopping) return Promise.reject(new PipelineError("STOPPED", "the broker is stopping"));
      const packet = { cmd: "publish", topic, payload: Buffer.from(payload), qos: 1, retain: false, dup: false } as const;
      return new Promise((resolve, reject) => broker.publish(packet, (error) => (error ? reject(error) : resolve())));
    },
    [Symbol.asyncDispose]: async () => {
      if (stopping) return;
      stopping = true;
      const closed = once(server, "close");
      server.close();
      await answers.settled();
      await new Promise<void>((resolve) => broker.close(resolve));
      for (const socket of sockets) socket.destroy(); // those that never got as far as CONNECT
      await closed;
    },
  };
}

/** Gives each client its answers in the order of its messages, whichever is decided first. */
class AnswersInOrder {
  readonly #last = new Map<Client, Promise<void>>();

  add(client: Client, decided: Promise<void>, answer: (error?: Error | null) => void): void {
    decided.catch(() => {}); // seen below, once those before it are answered
    const before = this.#last.get(client) ?? Promise.resolve();
    const answered = before
      .then(() => decided)
      .then(
        () => answer(null),
        (error: unknown) => answer(asError(error)),
      )
      .finally(() => {
        if (this.#last.get(client) === answered) this.#last.delete(client);
      });
    this.#last.set(client, answered);
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#last.values());
  }
}

async function within(ms: number, work: () => Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new PipelineError("LOG_UNAVAILABLE", `no answer within ${ms} ms`, { ms })), ms);
  try {
    await Promise.race([work(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function payloadOf(payload: string | Buffer): Uint8Array {
  return typeof payload === "string" ? Buffer.from(payload) : payload;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
