import { constants, type X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { PlantRegister } from "@smile/schemas/plant-register";
import type { PeerIdentity } from "@smile/schemas/registered-plant";
import { identifyPeer, isSamePeer, type PeerRefusal } from "./peer-certificate.ts";
import type { PlantRegistry } from "./plant-registry.ts";
import type { TlsSource } from "./tls-files.ts";

/** Why a connection to a TLS port was ended or not taken. */
export type PeerCutOff = PeerRefusal | "late-handshake" | "failed-handshake" | "no-certificate" | "too-many-of-plant" | "withdrawn";

export type PeerListenerOptions = {
  readonly credentials: TlsSource;
  readonly registry: PlantRegistry;
  readonly handshakeTimeoutMs: number;
  readonly maxConnectionsPerPlant: number;
  readonly onPeer: (socket: TLSSocket, peer: PeerIdentity) => void;
  readonly onCutOff: (reason: PeerCutOff, facts: Record<string, unknown>) => void;
};

type Admitted = { readonly peer: PeerIdentity; readonly certificate: X509Certificate; register: PlantRegister | undefined };

/** Standings end and certificates expire by the clock alone, without a new register. */
const recheckEveryMs = 60_000;
/** A stranger's subject may be as long as its whole certificate. */
const mostLogged = 200;

/**
 * A TLS server, not yet listening, that hands on only those connections whose client certificate is a plant's, and ends them when the
 * plant's register or the time says that it is not one any more. A plant that has all the connections it may have gets a new one only in
 * place of the oldest of the same peer: one that vanished without a word does not keep itself out.
 */
export function createPeerListener(options: PeerListenerOptions): { readonly server: Server } & Disposable {
  const { credentials, registry, maxConnectionsPerPlant, onPeer, onCutOff } = options;
  const admitted = new Map<TLSSocket, Admitted>();
  /** In the order of their arrival. */
  const byPlant = new Map<string, Set<TLSSocket>>();
  const context = () => ({
    cert: credentials.current.certificate,
    key: credentials.current.key,
    // Not the plants' authorities: every stranger would be told their names, and of two with the same name OpenSSL may take the wrong one.
    ca: [],
    minVersion: "TLSv1.2" as const,
    // Who a connection belongs to is asked once: no other certificate later, and none from an earlier session.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
  });
  const server = createServer({
    ...context(),
    requestCert: true,
    // Decided below, where each plant's own authority is asked. Node would do no more than destroy the socket either, without a reason.
    rejectUnauthorized: false,
    handshakeTimeout: options.handshakeTimeoutMs,
    noDelay: true,
  });

  const forget = (socket: TLSSocket) => {
    const plant = admitted.get(socket)?.peer.plant;
    if (plant === undefined) return;
    admitted.delete(socket);
    const left = byPlant.get(plant)!;
    left.delete(socket);
    if (left.size === 0) byPlant.delete(plant);
  };
  const cutOff = (socket: TLSSocket, reason: PeerCutOff, facts: Record<string, unknown> = {}) => {
    onCutOff(reason, { remoteAddress: socket.remoteAddress, ...facts });
    forget(socket);
    socket.destroy();
  };
  const hasPlaceFor = (peer: PeerIdentity): boolean => {
    const ofPlant = byPlant.get(peer.plant);
    if (ofPlant === undefined || ofPlant.size < maxConnectionsPerPlant) return true;
    const oldest = [...ofPlant].find((other) => isSamePeer(admitted.get(other)!.peer, peer));
    if (oldest !== undefined) cutOff(oldest, "too-many-of-plant", { ...peer });
    return oldest !== undefined;
  };
  server.on("secureConnection", (socket) => {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return cutOff(socket, "no-certificate");
    const peer = identifyPeer(certificate, registry, Date.now());
    if (typeof peer === "string") return cutOff(socket, peer, { subject: certificate.subject.slice(0, mostLogged).replaceAll("\n", ", ") });
    if (!hasPlaceFor(peer)) return cutOff(socket, "too-many-of-plant", { ...peer });
    admitted.set(socket, { peer, certificate, register: registry.find(peer.plant)?.register });
    byPlant.set(peer.plant, (byPlant.get(peer.plant) ?? new Set()).add(socket));
    socket.on("close", () => forget(socket));
    onPeer(socket, peer);
  });
  server.on("tlsClientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    const reason = error.code === "ERR_TLS_HANDSHAKE_TIMEOUT" ? "late-handshake" : "failed-handshake";
    // Whoever only looks whether the port answers, or made room for another.
    if (error.code !== "ECONNRESET") onCutOff(reason, { remoteAddress: socket.remoteAddress, code: error.code });
    socket.destroy();
  });

  const recheck = (onlyChanged: boolean) => {
    for (const [socket, known] of admitted) {
      const register = registry.find(known.peer.plant)?.register;
      if (onlyChanged && register === known.register) continue;
      known.register = register;
      const now = identifyPeer(known.certificate, registry, Date.now());
      if (typeof now !== "string" && isSamePeer(now, known.peer)) continue;
      cutOff(socket, "withdrawn", { ...known.peer, why: typeof now === "string" ? now : "another-peer" });
    }
  };
  let disposed = false;
  registry.onChange(() => disposed || recheck(true));
  credentials.onChange(() => disposed || server.setSecureContext(context()));
  const timer = setInterval(() => recheck(false), recheckEveryMs);
  timer.unref();
  return {
    server,
    [Symbol.dispose]() {
      disposed = true;
      clearInterval(timer);
    },
  };
}
