import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** What a time-series database is to a service that writes to it, and nothing more: it takes lines, or it is not there. */
export class TimeSeriesEndpoint implements AsyncDisposable {
  readonly #server: Server;
  #port = 0;
  /** Write requests taken. */
  writes = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      request.resume().once("end", () => {
        this.writes += 1;
        response.writeHead(204).end();
      });
    });
  }

  static async open(): Promise<TimeSeriesEndpoint> {
    const endpoint = new TimeSeriesEndpoint();
    await endpoint.up();
    return endpoint;
  }

  /** The section `timeSeries` of a service's configuration. */
  settings(instance: string): object {
    return { url: `http://127.0.0.1:${this.#port}`, org: "faults", bucket: "faults", instance, flushMs: 200 };
  }

  async up(): Promise<void> {
    if (this.#server.listening) return;
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async down(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }
}
