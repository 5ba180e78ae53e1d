import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import type { Artefact } from "./search.ts";

/** A time-series database that keeps each request whole: its line, its headers, and its lines as they were and unpacked. */
export class RecordingEndpoint implements AsyncDisposable {
  readonly #server: Server;
  readonly #requests: Buffer[] = [];
  #lines = "";
  #changed = Promise.withResolvers<void>();

  private constructor() {
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.once("end", () => {
        const body = Buffer.concat(parts);
        const unpacked = request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
        this.#requests.push(Buffer.from(`${request.url}\n${request.rawHeaders.join("\n")}\n`), body, unpacked);
        this.#lines += unpacked.toString();
        this.#changed.resolve();
        this.#changed = Promise.withResolvers();
        response.writeHead(204).end();
      });
    });
  }

  static async open(): Promise<RecordingEndpoint> {
    const endpoint = new RecordingEndpoint();
    endpoint.#server.listen(0, "127.0.0.1");
    await once(endpoint.#server, "listening");
    return endpoint;
  }

  /** The section `timeSeries` of a configuration. */
  settings(instance: string): object {
    const { port } = this.#server.address() as AddressInfo;
    return { url: `http://127.0.0.1:${port}`, org: "operator", bucket: "operator", instance, flushMs: 50, figuresMs: 250 };
  }

  /** Resolves when a line has come that matches. */
  async line(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.#lines)) await this.#changed.promise;
  }

  artefacts(): Artefact[] {
    return [{ name: "time series", bytes: Buffer.concat(this.#requests) }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
