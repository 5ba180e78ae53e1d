import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import type { TlsMaterial } from "@smile/runtime/tls-files";
import type { Artefact } from "./search.ts";

/** Whose connection it is, and what it is made with. */
export type Client = { readonly name: string; readonly tls: TlsMaterial };

export type Recorded = {
  readonly brokerPort: number;
  /** The broker's own. */
  readonly tls: TlsMaterial;
  readonly clients: readonly Client[];
};

/**
 * Stands between the plant and one broker of the service, with the service's own certificate, and keeps what the service reads and writes
 * there once TLS is taken off: it calls the service as the client that has called it, with that client's key.
 */
export class RecordingProxy implements AsyncDisposable {
  readonly #name: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #recorded = new Map<string, Buffer[]>();

  private constructor(name: string) {
    this.#name = name;
    this.#server = createServer({ requestCert: true, rejectUnauthorized: false });
    this.#server.on("connection", (socket: Socket) => this.#keep(socket));
  }

  /** Takes a port; nobody gets through before `record`. */
  static async open(name: string): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(name);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `mqtts://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  record({ brokerPort, tls: { certificate, key }, clients }: Recorded): void {
    this.#server.setSecureContext({ cert: certificate, key });
    this.#server.on("secureConnection", (inner: TLSSocket) => {
      const shown = inner.getPeerX509Certificate()!.raw;
      const { name: client, tls } = clients.find((each) => new X509Certificate(each.tls.certificate).raw.equals(shown))!;
      this.#record(`certificate of ${client}`, shown);
      const outer = connect({ port: brokerPort, host: "127.0.0.1", cert: tls.certificate, key: tls.key, ca: tls.authority });
      this.#join(inner, outer, client);
    });
  }

  artefacts(): Artefact[] {
    return [...this.#recorded].map(([stream, parts]) => ({ name: `${this.#name}: ${stream}`, bytes: Buffer.concat(parts) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #join(inner: TLSSocket, outer: TLSSocket, client: string): void {
    this.#keep(outer);
    for (const [from, to, stream] of [
      [inner, outer, `from ${client}`],
      [outer, inner, `to ${client}`],
    ] as const) {
      from.on("data", (part: Buffer) => this.#record(stream, part));
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
      from.pipe(to);
    }
  }

  #record(stream: string, part: Buffer): void {
    const parts = this.#recorded.get(stream);
    if (parts === undefined) this.#recorded.set(stream, [part]);
    else parts.push(part);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }
}
