import { hash } from "node:crypto";
import type { FrameEncryptor } from "@smile/he/backend";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { frameCodec, type MessageId } from "@smile/schemas/envelopes";
import type { SealedWindows } from "./assemble.ts";
import type { FrameFormat } from "./frame-format.ts";

/**
 * Encrypts windows into the envelope of one frame.
 * @param closedAtMs by the gateway's clock, milliseconds since 1970
 * @returns bytes of a Frame envelope; its signature is empty until gateways have identities
 */
export function sealFrame(
  format: FrameFormat,
  encryptor: FrameEncryptor,
  id: MessageId,
  { block, frameTimeMs, entries }: SealedWindows,
  closedAtMs: number,
): Uint8Array {
  const { kind, params, featureCount, lanes } = format;
  const placed = entries.map(({ lane, window }) => ({ lane, features: window.features }));
  const ciphertext = encryptor.encrypt(packLanes(placed, params.n, featureCount));
  return frameCodec.encode({
    ...kind,
    ...id,
    block,
    lanes: encodeLanes(
      entries.map(({ lane }) => lane),
      lanes,
    ),
    frameTimeMs,
    closedAtMs,
    jobId: null,
    frameCount: null,
    ciphertextHash: hash("sha256", ciphertext),
    ciphertext,
    signature: new Uint8Array(0),
  });
}
