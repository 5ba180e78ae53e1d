import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * A TCP proxy that lets bytes of its clients through up to an allowance and holds the rest: whatever is sent through it is then certainly
 * not yet at its end. What comes back is never held.
 */
export class ByteGate implements AsyncDisposable {
  readonly #server: Server;
  readonly #pumps = new Map<Socket, () => void>();
  #allowance = 0;

  private constructor(server: Server, target: number) {
    this.#server = server;
    server.on("connection", (client: Socket) => this.#join(client, connect(target, "127.0.0.1")));
  }

  /** @param target port of loopback */
  static async open(target: number): Promise<ByteGate> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new ByteGate(server, target);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Lets this many more bytes through, of all clients together; Infinity for all. */
  allow(bytes: number): void {
    this.#allowance += bytes;
    for (const pump of this.#pumps.values()) pump();
  }

  /** Lets nothing more through. */
  hold(): void {
    this.#allowance = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const client of this.#pumps.keys()) client.destroy();
    await closed;
  }

  #join(client: Socket, broker: Socket): void {
    const pump = () => {
      const size = Math.min(this.#allowance, client.readableLength);
      if (size === 0) return;
      this.#allowance -= size;
      broker.write(client.read(size) as Buffer);
    };
    this.#pumps.set(client, pump);
    client.on("readable", pump);
    broker.pipe(client);
    for (const [one, other] of [
      [client, broker],
      [broker, client],
    ] as const) {
      one.on("error", () => one.destroy());
      one.on("close", () => {
        this.#pumps.delete(client);
        other.destroy();
      });
    }
  }
}
