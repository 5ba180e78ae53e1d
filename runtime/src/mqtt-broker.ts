import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import { Aedes, type AedesOptions, type Client } from "aedes";
import type { Logger } from "./logging.ts";
import { AnswersInOrder, asError, within } from "./mqtt-answers.ts";
import { type CutOff, CutOffs } from "./mqtt-cut-offs.ts";
import { Intake } from "./mqtt-intake.ts";
import type { PacketLimits } from "./mqtt-packet-guard.ts";
import { Arrivals } from "./peer-arrivals.ts";
import { createPeerListener } from "./peer-listener.ts";
import type { PlantRegistry } from "./plant-registry.ts";
import { requireTlsBeyondLoopback } from "./tls-config.ts";
import type { TlsSource } from "./tls-files.ts";

export type { CutOff } from "./mqtt-cut-offs.ts";

/** A message that a client wants to publish. `payload` is only valid until the hook has answered. */
export type Publication = {
  readonly clientId: string;
  /** Whose certificate the client has shown; null without TLS. */
  readonly peer: PeerIdentity | null;
  readonly topic: string;
  readonly payload: Uint8Array;
};

/** TLS 1.2 or later; nobody gets as far as MQTT without a client certificate of a plant. */
export type BrokerTls = {
  /** The broker's own certificate and key; a renewed one counts for the connections that come then. */
  readonly credentials: TlsSource;
  /**
   * Who may connect: a client's certificate must be issued by its plant's authority and be in that plant's register. When a register
   * changes, the connections of those who are not in it any more end at once.
   */
  readonly registry: PlantRegistry;
};

export type BrokerOptions = {
  /** 0 takes a free one; the broker's `port` tells which. */
  readonly port: number;
  /** Default 127.0.0.1: nobody but this machine. */
  readonly host?: string;
  readonly logger: Logger;
  /** Without it clients have no identity, and nobody beyond this machine may connect. */
  readonly tls?: BrokerTls | undefined;
  /** `WITHOUT_TLS`, to listen beyond this machine without `tls` all the same. */
  readonly withoutTls?: string | undefined;
  /**
   * Takes a message over. Resolving acknowledges it (PUBACK); rejecting, or taking longer than `hookTimeoutMs`, closes the client's
   * connection without acknowledging, so that it sends this message and those after it again. A message that will never be accepted must
   * therefore resolve, or it comes back for ever. Messages of one client are handed over without waiting for each other and acknowledged
   * in their order. A message can come twice: recognise it by an id of its own. No subscriber ever receives it: what subscribers get
   * is what `publish` of this broker sends.
   */
  readonly authorizePublish: (publication: Publication) => Promise<void>;
  /**
   * Whether a client may receive what matches a topic filter. Without it nobody may subscribe: a frozen subscriber stalls publishers.
   * @param peer whose certificate the client has shown; null without TLS
   */
  readonly authorizeSubscribe?: (peer: PeerIdentity | null, clientId: string, filter: string) => Promise<boolean>;
  /** Whether a client may have this very message. Default: whatever it was let to subscribe to. */
  readonly authorizeForward?: (peer: PeerIdentity | null, clientId: string, topic: string) => boolean;
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
  /** At this number the oldest that has not sent CONNECT makes room; where there is none, the newest is refused. */
  readonly maxConnections: number;
  /** With TLS; one more takes the place of the same peer's oldest, or is refused. */
  readonly maxConnectionsPerPlant: number;
  /** From the connection to the end of the TLS handshake. */
  readonly handshakeTimeoutMs: number;
  /** From the connection, with TLS from the handshake, to the end of CONNECT. */
  readonly connectTimeoutMs: number;
  /** From the first byte of a packet to its last, while the broker reads. */
  readonly packetTimeoutMs: number;
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
  maxConnectionsPerPlant: 64,
  handshakeTimeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  packetTimeoutMs: 20_000,
  maxKeepaliveSeconds: 300,
  drainTimeoutMs: 5000,
};

export interface Broker extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** `mqtt://host:port`, or `mqtts://host:port` */
  readonly url: string;
  readonly connectedClients: number;
  /** Connections cut off since the start, by reason. */
  readonly cutOff: Readonly<Partial<Record<CutOff, number>>>;
  /**
   * Sends to every subscriber with QoS 1. Resolves when each has room for more, not when it has acknowledged. The payload must not
   * change any more.
   */
  publish(topic: string, payload: Uint8Array): Promise<void>;
}

type Link = {
  readonly socket: Socket;
  readonly peer: PeerIdentity | null;
  readonly intake: Intake;
  /** As it came: empty until then, and for one who leaves it to aedes. */
  clientId: string;
};

/** A client's messages that are with the hook at once: enough to share a log's transactions. */
const mostUnderWay = 64;
/**
 * With Node's default of 64 KiB a client's pipelining dies behind a slow hook: 207 instead of 1,747 messages of 43 KB per second. Behind
 * TLS, where Node cannot be told, it makes no difference.
 */
const socketBufferBytes = 1 << 20;
/** What a client publishes is for the hook alone. aedes would pass it on: one plant could send another scores of its own making. */
const nobodysTopic = "$taken";

/**
 * Starts an MQTT 3.1.1 broker in this process that acknowledges a message only after `authorizePublish` has taken it over.
 * Retained messages and wills of clients are not accepted: neither is a message that somebody took over. Nor is QoS 2, for which aedes
 * keeps messages in memory after their acknowledgement. Sessions end with their connections: nothing is kept for who is away.
 * With TLS a client id belongs to the certificate that came with it: nobody throws another peer out by choosing its id.
 * Disposing lets the hooks under way answer, ends every connection and frees the port.
 * @throws PipelineError BROKER_DOWN when it cannot listen; TLS_REQUIRED beyond this machine without TLS
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { logger, host = "127.0.0.1", hookTimeoutMs = 15_000, authorizeSubscribe, authorizeForward, tls } = options;
  requireTlsBeyondLoopback(host, tls !== undefined, options.withoutTls);
  const limits = { ...defaultBrokerLimits, ...options.limits };
  const answers = new AnswersInOrder();
  /** By the connection, as aedes has it in `client.conn`. */
  const links = new Map<object, Link>();
  const cutOffs = new CutOffs(logger);
  const arrivals = new Arrivals(limits.maxConnections, (remoteAddress) => cutOffs.note("too-many-connections", { remoteAddress }));
  /** Errors that are ours or counted already, and no offence of the client that they reach. */
  const notTheirs = new WeakSet<Error>();
  let stopping = false;

  const authorizePublish: AedesOptions["authorizePublish"] = (client, packet, answer) => {
    // Once a client is gone, what aedes still asks about is its will: no frame, and nobody waits for an acknowledgement.
    if (client === null || client.closed) return answer(new Error("wills are not accepted"));
    if (packet.qos === 2) return answer(new Error("QoS 2 is not accepted"));
    if (stopping) return; // without an answer there is no PUBACK: the client sends it again to whoever comes next
    packet.retain = false;
    const link = links.get(client.conn);
    if (link === undefined) return; // its connection has ended
    const { peer } = link;
    const clientId = link.clientId || client.id;
    const publication = { clientId, peer, topic: packet.topic, payload: payloadOf(packet.payload) };
    packet.topic = nobodysTopic;
    const answered = link.intake.begin(publication.payload.length);
    const taken = within(hookTimeoutMs, () => options.authorizePublish(publication));
    answers.add(client, taken, (error) => {
      answered();
      if (error) {
        notTheirs.add(error);
        cutOffs.note("not-taken-over", { err: error, client: client.id, topic: publication.topic });
      }
      answer(error);
    });
  };

  const broker = await Aedes.createBroker({
    drainTimeout: limits.drainTimeoutMs,
    // By default a hundred messages that wait for frozen subscribers would hold up everyone else's.
    concurrency: 0,
    preConnect: (client, packet, answer) => {
      const link = links.get(client.conn);
      if (link === undefined) return answer(new Error("its connection has ended"), false);
      link.clientId = packet.clientId;
      arrivals.hasConnected(link.socket);
      // aedes closes whoever has the same id already. Names hold no slash: no two peers have an id in common.
      if (link.peer !== null && packet.clientId !== "")
        packet.clientId = `${link.peer.plant}/${link.peer.role}/${link.peer.name}/${packet.clientId}`;
      packet.keepalive = Math.min(packet.keepalive || limits.maxKeepaliveSeconds, limits.maxKeepaliveSeconds);
      packet.clean = true; // aedes would keep everything for a session whose client is away
      answer(null, true);
    },
    authorizePublish,
    authorizeSubscribe: (client, subscription, answer) => {
      const link = links.get(client.conn);
      const allowed = (link && authorizeSubscribe?.(link.peer, link.clientId || client.id, subscription.topic)) ?? Promise.resolve(false);
      allowed.then(
        (yes) => answer(null, yes ? subscription : null),
        (error: unknown) => {
          const ours = asError(error);
          notTheirs.add(ours);
          answer(ours);
        },
      );
    },
    authorizeForward: (client, packet) => {
      const link = links.get(client.conn);
      const allowed = link !== undefined && (authorizeForward?.(link.peer, link.clientId || client.id, packet.topic) ?? true);
      return allowed ? packet : null;
    },
  });
  const onClientError = (client: Client, error: NodeJS.ErrnoException) => {
    // aedes says so for each message that waited, and gives the network's errors, which have a code, as well as its own.
    const reason = offencesByMessage.get(error.message) ?? "protocol-error";
    const isTheirs = error.code === undefined && !notTheirs.has(error);
    if (isTheirs && links.delete(client.conn)) cutOffs.note(reason, { err: error, client: client.id });
    else logger.debug({ err: error, client: client.id }, "client error");
  };
  broker.on("clientError", onClientError);
  broker.on("connectionError", onClientError);

  /** A client may speak MQTT from here on. */
  const receive = (socket: Socket, peer: PeerIdentity | null) => {
    const { remoteAddress } = socket;
    const intakeLimits = { ...limits, mostUnderWay, mostBytesUnderWay: socketBufferBytes };
    const intake = new Intake(socket, intakeLimits, (offence) => cutOffs.note(offence, { remoteAddress, ...peer }));
    const tooLate = setTimeout(() => {
      if (intake.sawConnect) return;
      cutOffs.note("late-connect", { remoteAddress, ...peer });
      socket.destroy();
    }, limits.connectTimeoutMs);
    links.set(socket, { socket, peer, clientId: "", intake });
    socket.on("close", () => {
      clearTimeout(tooLate);
      links.delete(socket);
    });
    broker.handle(socket);
  };
  const pace = setInterval(() => {
    for (const { socket, peer, clientId, intake } of links.values()) {
      if (!intake.isLate(performance.now())) continue;
      cutOffs.note("late-packet", { remoteAddress: socket.remoteAddress, clientId, ...peer });
      socket.destroy();
    }
  }, limits.packetTimeoutMs / 4);
  pace.unref();

  const listener =
    tls &&
    createPeerListener({
      ...tls,
      ...limits,
      onPeer: receive,
      onCutOff: (reason, facts) => cutOffs.note(reason, facts),
    });
  const server = listener?.server ?? createServer({ highWaterMark: socketBufferBytes, noDelay: true }, (socket) => receive(socket, null));
  server.on("connection", (socket: Socket) => arrivals.add(socket));
  try {
    server.listen(options.port, host);
    await once(server, "listening");
  } catch (error) {
    clearInterval(pace);
    listener?.[Symbol.dispose]();
    await new Promise<void>((resolve) => broker.close(resolve));
    const facts = { host, port: options.port };
    throw new PipelineError("BROKER_DOWN", `cannot listen on ${host}:${options.port}: ${asError(error).message}`, facts, error);
  }
  server.on("error", (error) => logger.error({ err: error }, "broker's listener failed"));
  const { port } = server.address() as AddressInfo;

  return {
    host,
    port,
    url: `${tls ? "mqtts" : "mqtt"}://${host.includes(":") ? `[${host}]` : host}:${port}`,
    get connectedClients() {
      return broker.connectedClients;
    },
    cutOff: cutOffs.counts,
    publish: (topic, payload) => {
      if (stopping) return Promise.reject(new PipelineError("STOPPED", "the broker is stopping"));
      const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
      const packet = { cmd: "publish", topic, payload: bytes, qos: 1, retain: false, dup: false } as const;
      return new Promise((resolve, reject) => broker.publish(packet, (error) => (error ? reject(error) : resolve())));
    },
    [Symbol.asyncDispose]: async () => {
      if (stopping) return;
      stopping = true;
      clearInterval(pace);
      listener?.[Symbol.dispose]();
      const closed = once(server, "close");
      server.close();
      await answers.settled();
      await new Promise<void>((resolve) => broker.close(resolve));
      arrivals.destroy(); // those that never got as far as CONNECT, or to the end of their handshake
      await closed;
    },
  };
}

/** Errors of aedes that are not about what a client sent. */
const offencesByMessage: ReadonlyMap<string, CutOff> = new Map([
  ["drain timeout", "frozen"],
  ["keep alive timeout", "silent"],
]);

function payloadOf(payload: string | Buffer): Uint8Array {
  return typeof payload === "string" ? Buffer.from(payload) : payload;
}
