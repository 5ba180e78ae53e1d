import type { Socket } from "node:net";
import { type Offence, PacketGuard, type PacketLimits } from "./mqtt-packet-guard.ts";

export type IntakeLimits = PacketLimits & {
  /** Messages of one client that are under way at once at most. */
  readonly mostUnderWay: number;
  /** No more is read while messages of this many bytes are under way. */
  readonly mostBytesUnderWay: number;
  /** From the first byte of a packet that has come to its last. */
  readonly packetTimeoutMs: number;
};

/** Under way at once before anything is known of how fast messages are taken. */
const firstAllowance = 8;
/** How long a message under way should wait at most: far below any keepalive, long enough to keep a slow log busy. */
const targetWaitMs = 1000;

/**
 * How many messages a client may have under way after one of them was answered: one more while answers come in time; when one was late, by
 * Little's law as many as are taken within `targetWaitMs` at its rate, `ahead / waitedMs`.
 * @param ahead messages under way when it came, itself included
 * @returns 1 to `most`
 */
export function allowanceAfter(allowance: number, ahead: number, waitedMs: number, most: number): number {
  if (waitedMs <= targetWaitMs) return Math.min(allowance + 1, most);
  return Math.max(1, Math.min(allowance, Math.floor((ahead * targetWaitMs) / waitedMs)));
}

/**
 * What is between one client's socket and the broker's parser. aedes reads on while messages are with the hook; here reading stops at
 * what may be under way, so that the socket, and then the client, feels how fast messages are taken.
 */
export class Intake {
  readonly #guard: PacketGuard;
  readonly #limits: IntakeLimits;
  #allowance = firstAllowance;
  #underWay = 0;
  #bytesUnderWay = 0;
  /** When the packet began that has not come whole; null between packets, and while nothing is read. */
  #begunMs: number | null = null;

  /**
   * Takes over `read` of the socket; the parser must get its bytes by calling it, as aedes does.
   * @param onOffence called once; the socket is destroyed
   */
  constructor(socket: Socket, limits: IntakeLimits, onOffence: (offence: Offence) => void) {
    this.#guard = new PacketGuard(limits);
    this.#limits = limits;
    const read = socket.read.bind(socket) as (size?: number) => Buffer | null;
    let rest: Buffer | null = null;
    socket.read = (size?: number) => {
      if (size === 0) return read(0); // Node's own way to have the buffer filled
      const room = this.#room();
      if (room === 0) this.#begunMs = null; // what it waits for is us
      if (room === 0 || this.#guard.offence !== null) return null; // aedes asks again after each answer
      let bytes = rest ?? read();
      if (bytes === null) return null;
      const before = this.#guard.packets;
      let end = this.#guard.scan(bytes, room);
      // A rest that ends within a packet leads to no answer, and the socket has told of what it holds: nobody would ask for the packet's end.
      const more = rest !== null && this.#guard.packets === before && this.#guard.offence === null ? read() : null;
      if (more !== null) {
        end = bytes.length + this.#guard.scan(more, room);
        bytes = Buffer.concat([bytes, more]);
      }
      if (!this.#guard.isWithinPacket) this.#begunMs = null;
      else if (this.#begunMs === null || this.#guard.packets > before) this.#begunMs = performance.now();
      rest = end < bytes.length ? bytes.subarray(end) : null;
      if (this.#guard.offence === null) return rest === null ? bytes : bytes.subarray(0, end);
      rest = null;
      socket.destroy();
      onOffence(this.#guard.offence);
      return null;
    };
  }

  /** Whether a whole CONNECT has come. */
  get sawConnect(): boolean {
    return this.#guard.sawConnect;
  }

  /** Whether a packet has begun so long ago that whoever sends it is playing for time. */
  isLate(nowMs: number): boolean {
    return this.#begunMs !== null && nowMs - this.#begunMs > this.#limits.packetTimeoutMs && this.#room() > 0;
  }

  /** A message was handed over. @returns to be called before its answer is given */
  begin(bytes: number): () => void {
    const sinceMs = performance.now();
    const ahead = ++this.#underWay;
    this.#bytesUnderWay += bytes;
    return () => {
      this.#allowance = allowanceAfter(this.#allowance, ahead, performance.now() - sinceMs, this.#limits.mostUnderWay);
      this.#underWay--;
      this.#bytesUnderWay -= bytes;
    };
  }

  #room(): number {
    if (this.#bytesUnderWay >= this.#limits.mostBytesUnderWay) return 0;
    return Math.max(0, this.#allowance - this.#underWay);
  }
}
