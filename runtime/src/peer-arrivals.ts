import type { Socket } from "node:net";

/**
 * The connections of a listener, bounded in number. Strangers who come and say nothing keep nobody out: at the bound the oldest of those
 * who have not said who they are makes room for the newest. Only where all have, the newest is refused.
 */
export class Arrivals {
  readonly #most: number;
  readonly #onRefused: (remoteAddress: string | undefined) => void;
  readonly #all = new Set<Socket>();
  /** Those who have not said who they are, in the order of their arrival; by address, as a TLS socket has that of the socket below it. */
  readonly #unknown = new Map<string, Socket>();

  /** @param onRefused called for each connection that had to go */
  constructor(most: number, onRefused: (remoteAddress: string | undefined) => void) {
    this.#most = most;
    this.#onRefused = onRefused;
  }

  /** @param socket as the network gave it, below TLS */
  add(socket: Socket): void {
    const address = addressOf(socket);
    this.#all.add(socket);
    this.#unknown.set(address, socket);
    socket.on("close", () => {
      this.#all.delete(socket);
      if (this.#unknown.get(address) === socket) this.#unknown.delete(address);
    });
    if (this.#all.size <= this.#most) return;
    const [oldest] = this.#unknown.values(); // there is one: the newest itself
    this.#onRefused(oldest!.remoteAddress);
    this.#all.delete(oldest!);
    this.#unknown.delete(addressOf(oldest!));
    oldest!.destroy();
  }

  /** From here on it stays. */
  hasConnected(socket: Socket): void {
    this.#unknown.delete(addressOf(socket));
  }

  /** Ends all that are left. */
  destroy(): void {
    for (const socket of this.#all) socket.destroy();
  }
}

function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
