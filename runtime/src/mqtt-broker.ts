import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { PipelineError } from "@smile/errors/pipeline-error";
import { Aedes, type AedesOptions, type Client } from "aedes";
import type { Logger } from "./logging.ts";
import { Intake } from "./mqtt-intake.ts";
import type { Offence, PacketLimits } from "./mqtt-packet-guard.ts";

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
  /**
   * Default 15 s, from arrival: well under the clients' keepalive, which this broker cannot answer while it holds a message back. A slow
   * hook does not get there: the slower it is, the fewer messages of a client are handed over at once.
   */
  readonly hookTimeoutMs?: number;
  /** Defaults: `defaultBrokerLimits`. */
  readonly limits?: Partial<BrokerLimits>;
};

/** What a stranger may cost. A client takes up to 1 MiB in its socket, 1 MiB under way, and one packet. */
export type BrokerLimits = PacketLimits & {
  readonly maxConnections: number;
  /** From the connection to the end of CONNECT. */
  readonly connectTimeoutMs: number;
  /** A client that says nothing for one and a half times its keepalive is cut off; a longer one, or none, counts as this. */
  readonly maxKeepaliveSeconds: number;
  /** A subscriber that takes nothing for this long is cut off; until then it holds up whoever publishes to it, and nobody else. */
  readonly drainTimeoutMs: number;
};

export const defaultBrokerLimits: BrokerLimits = {
  // The largest frame is 64 KiB with its envelope: twice that, and a topic.
  maxPacketBytes: 128 * 1024 + 4096,
  maxConnectBytes: 4096,
  maxConnections: 256,
  connectTimeoutMs: 10_000,
  maxKeepaliveSeconds: 300,
  drainTimeoutMs: 5000,
};

/** Why a connection was ended, or not taken in the first place. */
export type CutOff = Offence | "late-connect" | "too-many-connections" | "frozen" | "not-taken-over";

export interface Broker extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** `mqtt://host:port` */
  readonly url: string;
  readonly connectedClients: number;
  /** Connections cut off since the start, by reason. */
  readonly cutOff: Readonly<Partial<Record<CutOff, number>>>;
  /** Sends to every subscriber with QoS 1. Resolves when each has room for more, not when it has acknowledged. */
  publish(topic: string, payload: Uint8Array): Promise<void>;
}

/** A client's messages that are with the hook at once: enough to share a log's transactions. */
const mostUnderWay = 64;
/** With Node's default of 64 KiB a client's pipelining dies behind a slow hook: 207 instead of 1,747 messages of 43 KB per second. */
const socketBufferBytes = 1 << 20;
/** What a client publishes is for the hook alone. aedes would pass it on: one plant could send another scores of its own making. */
const nobodysTopic = "$taken";
/** Somebody who is cut off comes back and is cut off again: one line per reason in this time says so. */
const logEveryMs = 1000;

/**
 * Starts an MQTT 3.1.1 broker in this process that acknowledges a message only after `authorizePublish` has taken it over.
 * Retained messages and wills of clients are not accepted: neither is a message that somebody took over. Nor is QoS 2, for which aedes
 * keeps messages in memory after their acknowledgement. Sessions end with their connections: nothing is kept for who is away.
 * Disposing lets the hooks under way answer, ends every connection and frees the port.
 * @throws PipelineError BROKER_DOWN when it cannot listen
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { logger, host = "127.0.0.1", hookTimeoutMs = 15_000, authorizeSubscribe } = options;
  const limits = { ...defaultBrokerLimits, ...options.limits };
  const answers = new AnswersInOrder();
  const intakes = new WeakMap<object, Intake>();
  const cutOff: Partial<Record<CutOff, number>> = {};
  const loggedMs = new Map<CutOff, number>();
  let stopping = false;

  const noteCutOff = (reason: CutOff, facts: Record<string, unknown>) => {
    const total = (cutOff[reason] ?? 0) + 1;
    cutOff[reason] = total;
    const nowMs = performance.now();
    if (nowMs - (loggedMs.get(reason) ?? Number.NEGATIVE_INFINITY) < logEveryMs) return;
    loggedMs.set(reason, nowMs);
    logger.warn({ reason, total, ...facts }, "cut off a connection");
  };

  const authorizePublish: AedesOptions["authorizePublish"] = (client, packet, answer) => {
    // Once a client is gone, what aedes still asks about is its will: no frame, and nobody waits for an acknowledgement.
    if (client === null || client.closed) return answer(new Error("wills are not accepted"));
    if (packet.qos === 2) return answer(new Error("QoS 2 is not accepted"));
    if (stopping) return; // without an answer there is no PUBACK: the client sends it again to whoever comes next
    packet.retain = false;
    const publication = { clientId: client.id, topic: packet.topic, payload: payloadOf(packet.payload) };
    packet.topic = nobodysTopic;
    const answered = intakes.get(client.conn)?.begin(publication.payload.length);
    const taken = within(hookTimeoutMs, () => options.authorizePublish(publication));
    answers.add(client, taken, (error) => {
      answered?.();
      if (error) noteCutOff("not-taken-over", { err: error, client: client.id, topic: publication.topic });
      answer(error);
    });
  };

  const broker = await Aedes.createBroker({
    drainTimeout: limits.drainTimeoutMs,
    // By default a hundred messages that wait for frozen subscribers would hold up everyone else's.
    concurrency: 0,
    preConnect: (_, packet, answer) => {
      packet.keepalive = Math.min(packet.keepalive || limits.maxKeepaliveSeconds, limits.maxKeepaliveSeconds);
      packet.clean = true; // aedes would keep everything for a session whose client is away
      answer(null, true);
    },
    authorizePublish,
    authorizeSubscribe: (client, subscription, answer) => {
      const allowed = authorizeSubscribe?.(client.id, subscription.topic) ?? Promise.resolve(false);
      allowed.then(
        (yes) => answer(null, yes ? subscription : null),
        (error: unknown) => answer(asError(error)),
      );
    },
  });
  broker.on("clientError", (client, error) => {
    // aedes says so for each message that waited.
    if (error.message === "drain timeout" && intakes.delete(client.conn)) noteCutOff("frozen", { client: client.id });
    else logger.debug({ err: error, client: client.id }, "client error");
  });
  broker.on("connectionError", (_, error) => logger.debug({ err: error }, "connection error"));

  const sockets = new Set<Socket>();
  const server = createServer({ highWaterMark: socketBufferBytes, noDelay: true }, (socket) => {
    const { remoteAddress } = socket;
    const intakeLimits = { ...limits, mostUnderWay, mostBytesUnderWay: socketBufferBytes };
    const intake = new Intake(socket, intakeLimits, (offence) => noteCutOff(offence, { remoteAddress }));
    const tooLate = setTimeout(() => {
      if (intake.sawConnect) return;
      noteCutOff("late-connect", { remoteAddress });
      socket.destroy();
    }, limits.connectTimeoutMs);
    sockets.add(socket);
    intakes.set(socket, intake);
    socket.on("close", () => {
      clearTimeout(tooLate);
      sockets.delete(socket);
    });
    broker.handle(socket);
  });
  server.maxConnections = limits.maxConnections;
  server.on("drop", (from) => noteCutOff("too-many-connections", { remoteAddress: from?.remoteAddress }));
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
    cutOff,
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
