import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "node:tls";
import { certificateHash } from "@smile/identity/check-certificate";
import type { TlsMaterial } from "@smile/runtime/tls-files";

const LOOK_MS = 100;

/**
 * Resolves when the broker on a port of this machine shows a certificate.
 * @throws {Error} when it does not within `patienceMs`
 */
export async function untilShown(port: number, { certificate, authority }: Required<TlsMaterial>, patienceMs: number): Promise<void> {
  const wanted = certificateHash(certificate);
  for (const untilMs = performance.now() + patienceMs; performance.now() < untilMs; await delay(LOOK_MS)) {
    if ((await shownOn(port, authority).catch(() => undefined)) === wanted) return;
  }
  throw new Error(`no renewed certificate on port ${port} within ${patienceMs / 1000} s`);
}

async function shownOn(port: number, authority: string): Promise<string | undefined> {
  const socket = connect({ port, host: "127.0.0.1", ca: authority });
  try {
    await once(socket, "secureConnect");
    return socket.getPeerX509Certificate()?.fingerprint256.replaceAll(":", "").toLowerCase();
  } finally {
    socket.on("error", () => {}); // the broker ends it: we show none
    socket.destroy();
  }
}
