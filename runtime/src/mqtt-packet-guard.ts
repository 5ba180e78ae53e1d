/** Why bytes are not handed to the parser. */
export type Offence = "packet-too-large" | "malformed-length" | "not-connect";

export type PacketLimits = {
  /** Largest packet after CONNECT, fixed header included. */
  readonly maxPacketBytes: number;
  /** Largest CONNECT: until it has come whole, nobody is known. */
  readonly maxConnectBytes: number;
};

/** MQTT 3.1.1, 2.2.3: the remaining length is at most four bytes of seven bits, lowest first, the eighth says that another follows. */
const maxLengthBytes = 4;
/** Type 1 and no flags (3.1). A TLS handshake begins with 0x16, which is type 1 too. */
const connectHeader = 0x10;

/**
 * Reads the fixed headers of one client's MQTT stream and nothing else: what comes is refused by the length that it declares, before
 * anybody keeps it. A parser keeps whatever a client has declared until it is complete, up to 256 MB, even before CONNECT.
 * Verdict and packets depend on the bytes only, not on how they are cut into pieces.
 */
export class PacketGuard {
  readonly #limits: PacketLimits;
  #offence: Offence | null = null;
  #packets = 0;
  /** Bytes of the current packet's fixed header that have come, and what its remaining length says so far. */
  #headerBytes = 0;
  #length = 0;
  /** Bytes of the current packet's body that are still to come. */
  #bodyLeft = 0;

  constructor(limits: PacketLimits) {
    this.#limits = limits;
  }

  /** The first offence; from there on nothing is let through. */
  get offence(): Offence | null {
    return this.#offence;
  }

  /** Whether a whole CONNECT has come. */
  get sawConnect(): boolean {
    return this.#packets > 0; // the first packet is one
  }

  /** Packets that have come whole. */
  get packets(): number {
    return this.#packets;
  }

  /** Whether a packet has begun and not come whole. */
  get isWithinPacket(): boolean {
    return this.#headerBytes > 0 || this.#bodyLeft > 0;
  }

  /**
   * Looks at the next bytes of the stream, up to the end of the last of `mostPackets`.
   * @param mostPackets at least 1
   * @returns how many of the bytes belong to those packets; the caller brings the others again. With an offence none should be handed on
   */
  scan(bytes: Uint8Array, mostPackets = Number.POSITIVE_INFINITY): number {
    let at = 0;
    let packets = 0;
    while (at < bytes.length && packets < mostPackets && this.#offence === null) {
      if (this.#bodyLeft === 0) {
        this.#readHeader(bytes[at++]!);
        if (this.#headerBytes > 0 || this.#offence !== null) continue;
      } else {
        const taken = Math.min(this.#bodyLeft, bytes.length - at);
        at += taken;
        this.#bodyLeft -= taken;
      }
      if (this.#bodyLeft > 0) continue;
      this.#packets++;
      packets++;
    }
    return at;
  }

  #readHeader(byte: number): void {
    const most = this.sawConnect ? this.#limits.maxPacketBytes : this.#limits.maxConnectBytes;
    if (this.#headerBytes === 0) {
      if (!this.sawConnect && byte !== connectHeader) this.#offence = "not-connect";
      this.#headerBytes = 1;
      this.#length = 0;
      return;
    }
    const place = this.#headerBytes - 1;
    this.#length += (byte & 0x7f) * 2 ** (7 * place);
    this.#headerBytes++;
    if (this.#headerBytes + this.#length > most) this.#offence = "packet-too-large";
    else if (byte < 0x80) {
      this.#bodyLeft = this.#length;
      this.#headerBytes = 0;
    } else if (this.#headerBytes > maxLengthBytes) this.#offence = "malformed-length";
  }
}
