import type { CertificateAndKey } from "@smile/identity/certify";
import { silentLogger } from "@smile/runtime/logging";
import { type Broker, startBroker } from "@smile/runtime/mqtt-broker";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { fixedTls } from "@smile/runtime/tls-files";
import { parseCursor } from "@smile/schemas/cursor";
import { deliveryCodec } from "@smile/schemas/envelopes";
import type { PlantRegister } from "@smile/schemas/plant-register";
import { scoresTopic } from "@smile/schemas/topics";

/** Deliveries on their way beyond the console's cursor, as the real egress has it. */
const WINDOW = 256;
/** Of the feed that the console is to follow. */
export const FEED = { topicId: "fake", partition: 0 } as const;

/**
 * An operator's delivery broker in the hands of somebody else, with its true certificate. It delivers a feed, good scores and hostile ones,
 * each under the offset that is next, so that it withholds nothing: what it may do at any time proves nothing. Beside the feed it sends
 * whatever it is told to.
 */
export class FakeOperator implements AsyncDisposable {
  readonly #plant: string;
  readonly #feed: Uint8Array[] = [];
  #broker: Broker | undefined;
  #next = 0;
  #stored = 0;
  #sending: Promise<void> = Promise.resolve();
  #isSending = false;
  #isClosed = false;
  #moved = Promise.withResolvers<void>();

  private constructor(plant: string) {
    this.#plant = plant;
  }

  static async open(options: {
    certificate: CertificateAndKey;
    registers: readonly PlantRegister[];
    plant: string;
  }): Promise<FakeOperator> {
    const fake = new FakeOperator(options.plant);
    fake.#broker = await startBroker({
      port: 0,
      logger: silentLogger(),
      tls: { credentials: fixedTls(options.certificate), registry: new FixedRegistry(options.registers) },
      authorizeSubscribe: async () => true,
      authorizePublish: async ({ payload }) => fake.#hear(payload),
    });
    return fake;
  }

  get url(): string {
    return this.#broker!.url;
  }

  /** Entries of the feed that the console has dealt with. */
  get stored(): number {
    return this.#stored;
  }

  get length(): number {
    return this.#feed.length;
  }

  /** Puts an entry into the feed: an envelope of a score or a gap, or what is to pass for one. */
  push(score: Uint8Array): void {
    this.#feed.push(score);
    this.#goOn();
  }

  /** Sends a payload beside the feed: a delivery, or what is to pass for one. */
  async aside(payload: Uint8Array): Promise<void> {
    await this.#broker!.publish(scoresTopic(this.#plant), payload);
  }

  /** Resolves when the console's cursor has moved. */
  moved(): Promise<void> {
    return this.#moved.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#broker?.[Symbol.asyncDispose]();
    await this.#sending.catch(() => {});
  }

  #hear(payload: Uint8Array): void {
    const { topicId, partition, next, resume } = parseCursor(payload);
    const at = topicId === FEED.topicId && partition === FEED.partition ? (next ?? 0) : 0;
    this.#stored = resume ? at : Math.max(at, this.#stored);
    if (resume || this.#next < at) this.#next = at;
    this.#moved.resolve();
    this.#moved = Promise.withResolvers();
    this.#goOn();
  }

  #goOn(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    this.#sending = this.#send();
    this.#sending.catch(() => {}); // disposed of under way
  }

  async #send(): Promise<void> {
    try {
      while (!this.#isClosed && this.#next < this.#feed.length && this.#next - this.#stored < WINDOW) {
        const offset = this.#next++;
        await this.aside(deliveryCodec.encode({ ...FEED, from: offset, offset, score: this.#feed[offset]! }));
      }
    } finally {
      this.#isSending = false;
    }
  }
}
