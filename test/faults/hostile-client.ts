import { generateKeyPairSync, hash, type KeyObject } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { residueBits } from "@smile/he/params";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { fixedTls, type TlsMaterial } from "@smile/runtime/tls-files";
import type { Deployment } from "@smile/schemas/documents";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { signFrame } from "@smile/schemas/signing";

/** A bad message, and the code under which it must be refused. */
export type BadMessage = { readonly payload: Uint8Array; readonly code: string };

/** How long to wait for an acknowledgement that may never come. */
const PATIENCE_MS = 20_000;

/** Where to publish, and as whom: `tls` is a gateway's, undefined without TLS. */
export type Sender = { readonly url: string; readonly tls: TlsMaterial | undefined };

/**
 * Publishes one message as a client of its own.
 * @returns whether it was acknowledged; false when the broker closed the connection on it or did not answer
 */
export async function publishOnce({ url, tls }: Sender, topic: string, payload: Uint8Array, patienceMs = PATIENCE_MS): Promise<boolean> {
  await using connection = openMqtt({
    url,
    ...(tls && { tls: fixedTls(tls) }),
    clientId: `harness-${hash("sha256", payload).slice(0, 8)}`,
    logger: silentLogger(),
    maxPacketBytes: 2 ** 28,
    reconnectMs: { first: 250, last: 1000 },
  });
  return await Promise.race([connection.publish(topic, payload).then(() => true), delay(patienceMs, false, { ref: false })]);
}

/** Bytes that are no envelope: of another format, cut short, or none at all. */
export function poison(good: Uint8Array, draw: number): BadMessage {
  const choices = [Buffer.from("not an envelope"), good.subarray(0, 60), Buffer.alloc(0), Buffer.alloc(5000, 0x46)];
  return { payload: choices[draw % choices.length]!, code: "FRAME_MALFORMED" };
}

/** A good frame whose gateway's key is at hand: what it signs is refused for what it says, not for who says it. */
export type GoodFrame = { readonly payload: Uint8Array; readonly key: KeyObject };

/** A frame whose ciphertext is not what its sender sealed: changed under its hash, or with a residue that no honest encryption has. */
export function corrupt({ payload, key }: GoodFrame, draw: number, deployment: Deployment): BadMessage {
  const frame = frameCodec.decode(payload);
  const ciphertext = Uint8Array.from(frame.ciphertext);
  if (draw % 2 === 0) {
    ciphertext[draw % ciphertext.length]! ^= 1;
    return { payload: signed({ ...anew(frame, draw), ciphertext }, key), code: "FRAME_WRONG_HASH" };
  }
  ciphertext.fill(0xff, 0, Math.ceil(residueBits(paramsFromDocument(deployment.params)) / 8));
  const changed = { ...anew(frame, draw), ciphertext, ciphertextHash: hash("sha256", ciphertext) };
  return { payload: signed(changed, key), code: "RESIDUE_OUT_OF_RANGE" };
}

/** A frame under a key that the plant has not registered. */
export function foreignKey({ payload, key }: GoodFrame, draw: number): BadMessage {
  const frame = frameCodec.decode(payload);
  return { payload: signed({ ...anew(frame, draw), keyId: hash("sha256", String(draw)) }, key), code: "KEY_UNKNOWN" };
}

/** A frame that its gateway did not sign: changed under its signature, or signed by somebody else. */
export function forged({ payload }: GoodFrame, draw: number): BadMessage {
  const frame = anew(frameCodec.decode(payload), draw);
  const stranger = () => signed(frame, generateKeyPairSync("ed25519").privateKey);
  return { payload: draw % 2 === 0 ? frameCodec.encode(frame) : stranger(), code: "SIGNATURE_INVALID" };
}

/** More bytes than any frame has: twice the parser's bound. */
export function oversize(draw: number): BadMessage {
  return { payload: Buffer.alloc(2 * 1024 * 1024, draw & 0xff), code: "FRAME_WRONG_LENGTH" };
}

/** Under a message id that no gateway uses: what is refused must not pass for a frame that was seen. */
function anew(frame: Frame, draw: number): Frame {
  return { ...frame, epoch: 1 + (draw % 1000), sequence: draw };
}

function signed(frame: Frame, key: KeyObject): Uint8Array {
  return frameCodec.encode(signFrame(frame, key));
}
