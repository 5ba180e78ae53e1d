import type { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type Server as TlsServer, connect as tlsConnect } from "node:tls";
import type { TlsMaterial } from "@smile/runtime/tls-files";
import {
  acknowledgedId,
  CONNECT,
  clientIdOf,
  encodePublish,
  PacketSplitter,
  PUBACK,
  PUBLISH,
  type Publish,
  type RawPacket,
  readPublish,
} from "./mqtt-packets.ts";

/** Which way packets go: `up` from the client to the broker, `down` back. */
export type Direction = "up" | "down";

/** A message that passed the link, and who sent or received it: `certificate` is the hash of what that one showed, null without TLS. */
export type Passed = Publish & { readonly clientId: string; readonly certificate: string | null };

/**
 * What lets a link see packets between parties that speak TLS with each other: it is the broker to the clients, and to the broker it is
 * whoever the client is. Both check what they are shown, as they would without it.
 */
export type LinkTls = {
  /** What the broker shows, the key to it, and what its certificate must come from. */
  readonly server: Required<TlsMaterial>;
  /** What a client showed, and the key to it. @param certificate its hash */
  readonly clientOf: (certificate: string) => TlsMaterial | undefined;
};

/** How long a reordered message waits for the one that is to overtake it. */
const SWAP_MS = 1000;

/**
 * A TCP proxy between MQTT clients and their brokers that understands packets: it sees what was published and acknowledged, and can
 * hold, swap, repeat and swallow. Everything else goes through byte by byte. With several brokers it sends each connection to the next
 * one that answers, as a load balancer does. Between parties that speak TLS it ends both sides' TLS with their own keys.
 */
export class MqttLink implements AsyncDisposable {
  readonly #server: Server;
  readonly #brokers: readonly number[];
  readonly #carries: Direction;
  readonly #onAcknowledged: (message: Passed) => void;
  readonly #lines = new Set<Line>();
  readonly #armed = new Map<string, { readonly kind: "cut" | "swap"; readonly done: () => void }[]>();
  readonly #held = new Set<string>();
  #next = 0;
  /** Newest messages first seen on the link, oldest first. */
  readonly captured: Passed[] = [];
  readonly #capacity: number;
  readonly #concerns: (message: Passed) => boolean;
  readonly #tls: LinkTls | undefined;

  private constructor(server: Server | TlsServer, options: LinkOptions) {
    this.#server = server;
    this.#tls = options.tls;
    this.#brokers = options.brokers;
    this.#carries = options.carries;
    this.#onAcknowledged = options.onAcknowledged ?? (() => {});
    this.#capacity = options.captures ?? 64;
    this.#concerns = options.concerns ?? (() => true);
    if (options.tls === undefined) server.on("connection", (client: Socket) => void this.#accept(client, null));
    else {
      server.on("connection", (client: Socket) => client.on("error", () => client.destroy()));
      (server as TlsServer).on("secureConnection", (client) => void this.#accept(client, hashOf(client.getPeerX509Certificate())));
    }
  }

  static async open(options: LinkOptions): Promise<MqttLink> {
    const { tls, port = 0 } = options;
    // Whether a client's certificate is good is for the broker to say.
    const asks = { requestCert: true, rejectUnauthorized: false, noDelay: true };
    const server = tls === undefined ? createServer({ noDelay: true }) : createTlsServer({ ...shown(tls.server), ...asks });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return new MqttLink(server, options);
  }

  get url(): string {
    return `${this.#tls ? "mqtts" : "mqtt"}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Shows clients another certificate from here on, and cuts every connection, so that each client sees it. */
  renew(server: TlsMaterial): void {
    (this.#server as TlsServer).setSecureContext(shown(server));
    for (const line of this.#lines) line.cut();
  }

  /** The next acknowledgement of this client's messages is swallowed and its connection cut. Resolves when that has happened. */
  cutBeforeAcknowledgement(clientId: string): Promise<void> {
    return this.#arm(clientId, "cut");
  }

  /** The client's next message passes after the one behind it. Resolves when both have passed, or none came behind it. */
  swapNext(clientId: string): Promise<void> {
    return this.#arm(clientId, "swap");
  }

  /** Nothing passes in either direction until `release`, for this client. */
  hold(clientId: string): { release(): void } {
    this.#held.add(clientId);
    return {
      release: () => {
        this.#held.delete(clientId);
        for (const line of this.#lines) if (line.clientId === clientId) line.release();
      },
    };
  }

  /** Slips a message into the client's connections, as QoS 0. @returns to how many */
  slip(clientId: string, topic: string, payload: Uint8Array): number {
    const lines = [...this.#lines].filter((line) => line.clientId === clientId);
    for (const line of lines) line.write(this.#carries, encodePublish(topic, payload));
    return lines.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const line of this.#lines) line.cut();
    await closed;
  }

  #arm(clientId: string, kind: "cut" | "swap"): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#armed.get(clientId) ?? [];
    this.#armed.set(clientId, [...waiting, { kind, done: resolve }]);
    return promise;
  }

  /** Takes what is armed for a client, if it is of this kind. */
  #take(clientId: string, kind: "cut" | "swap"): (() => void) | undefined {
    const waiting = this.#armed.get(clientId) ?? [];
    const found = waiting.find((each) => each.kind === kind);
    if (found === undefined) return undefined;
    this.#armed.set(
      clientId,
      waiting.filter((each) => each !== found),
    );
    return found.done;
  }

  /** @param certificate hash of what the client showed; null without TLS, undefined for nothing */
  async #accept(client: Socket, certificate: string | null | undefined): Promise<void> {
    client.on("error", () => client.destroy());
    client.pause();
    const as = typeof certificate === "string" ? this.#tls?.clientOf(certificate) : undefined;
    if (this.#tls !== undefined && as === undefined) return void client.destroy();
    for (const _ of this.#brokers) {
      const port = this.#brokers[this.#next++ % this.#brokers.length]!;
      const broker = await this.#reach(port, as).catch(() => undefined);
      if (broker === undefined) continue; // down just now
      if (client.destroyed) return void broker.destroy();
      return this.#join(client, broker, certificate ?? null);
    }
    client.destroy();
  }

  async #reach(port: number, as: TlsMaterial | undefined): Promise<Socket> {
    const to = { port, host: "127.0.0.1", noDelay: true };
    if (as === undefined) {
      const broker = connect(to);
      await once(broker, "connect");
      return broker;
    }
    const broker = tlsConnect({ ...to, ...shown(as), ca: this.#tls!.server.authority });
    try {
      await once(broker, "secureConnect");
    } catch (error) {
      broker.destroy();
      throw error;
    }
    return broker.setNoDelay(true);
  }

  #join(client: Socket, broker: Socket, certificate: string | null): void {
    const line = new Line(client, broker);
    this.#lines.add(line);
    line.onClosed = () => this.#lines.delete(line);
    const unacknowledged = new Map<number, Passed>();
    let swapped: { readonly bytes: Buffer; readonly done: () => void; readonly timer: NodeJS.Timeout } | undefined;

    const passSwapped = () => {
      if (swapped === undefined) return;
      const { bytes, done, timer } = swapped;
      swapped = undefined;
      clearTimeout(timer);
      line.write(this.#carries, bytes);
      done();
    };
    const carried = (packet: RawPacket) => {
      if (packet.type !== PUBLISH) return line.write(this.#carries, packet.bytes);
      const message = { ...readPublish(packet), clientId: line.clientId, certificate };
      if (message.packetId !== undefined) unacknowledged.set(message.packetId, message);
      if (this.#concerns(message)) this.captured.push(message);
      if (this.captured.length > this.#capacity) this.captured.shift();
      const done = swapped === undefined ? this.#take(line.clientId, "swap") : undefined;
      if (done !== undefined) {
        swapped = { bytes: packet.bytes, done, timer: setTimeout(passSwapped, SWAP_MS) };
        return;
      }
      line.write(this.#carries, packet.bytes);
      passSwapped();
    };
    const answered = (packet: RawPacket) => {
      if (packet.type === PUBACK) {
        const cut = this.#take(line.clientId, "cut");
        if (cut !== undefined) {
          line.cut();
          return cut();
        }
        const message = unacknowledged.get(acknowledgedId(packet));
        unacknowledged.delete(acknowledgedId(packet));
        if (message !== undefined && this.#concerns(message)) this.#onAcknowledged(message);
      }
      line.write(opposite(this.#carries), packet.bytes);
    };
    const onUp = this.#carries === "up" ? carried : answered;
    const onDown = this.#carries === "down" ? carried : answered;
    line.run(onUp, onDown, () => this.#held.has(line.clientId));
  }
}

export type LinkOptions = {
  /** Where it listens; default any free port. */
  readonly port?: number;
  /** Between parties that speak TLS with each other. */
  readonly tls?: LinkTls | undefined;
  /** Ports of the brokers behind it. */
  readonly brokers: readonly number[];
  /** Which way the messages go that are captured, swapped and repeated; acknowledgements go the other way. */
  readonly carries: Direction;
  /** A message whose acknowledgement is passed on. */
  readonly onAcknowledged?: (message: Passed) => void;
  /** How many messages are kept; default 64. */
  readonly captures?: number;
  /** Which messages are kept and told of; default all. */
  readonly concerns?: (message: Passed) => boolean;
};

function shown({ certificate, key }: TlsMaterial) {
  return { cert: certificate, key };
}

function hashOf(certificate: X509Certificate | undefined): string | undefined {
  return certificate?.fingerprint256.replaceAll(":", "").toLowerCase();
}

function opposite(direction: Direction): Direction {
  return direction === "up" ? "down" : "up";
}

/** One connection through the link. */
class Line {
  clientId = "";
  onClosed: () => void = () => {};
  readonly #sockets: { readonly up: Socket; readonly down: Socket };
  #waiting: (() => void)[] = [];

  constructor(client: Socket, broker: Socket) {
    this.#sockets = { up: broker, down: client };
  }

  /** @param isHeld whether packets wait until `release` */
  run(onUp: (packet: RawPacket) => void, onDown: (packet: RawPacket) => void, isHeld: () => boolean): void {
    const { up: broker, down: client } = this.#sockets;
    for (const [socket, handle] of [
      [client, onUp],
      [broker, onDown],
    ] as const) {
      const splitter = new PacketSplitter();
      socket.on("data", (chunk: Buffer) => {
        for (const packet of splitter.push(chunk)) {
          if (packet.type === CONNECT) this.clientId = clientIdOf(packet);
          if (isHeld() || this.#waiting.length > 0) this.#waiting.push(() => handle(packet));
          else handle(packet);
        }
      });
      socket.on("error", () => this.cut());
      socket.on("close", () => this.cut());
    }
    client.resume();
  }

  write(direction: Direction, bytes: Buffer): void {
    const socket = this.#sockets[direction];
    const from = this.#sockets[opposite(direction)];
    if (socket.destroyed || socket.write(bytes)) return;
    if (from.isPaused()) return; // `drain` is waited for already
    from.pause();
    socket.once("drain", () => from.resume());
  }

  release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const pass of waiting) pass();
  }

  cut(): void {
    this.#sockets.up.destroy();
    this.#sockets.down.destroy();
    this.onClosed();
  }
}
