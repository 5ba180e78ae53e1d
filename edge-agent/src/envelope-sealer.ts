import { hash, type KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { FrameEncryptor } from "@smile/he/backend";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { openEncryptor } from "@smile/he/open";
import { frameCodec, type Gap, gapCodec, type MessageId } from "@smile/schemas/envelopes";
import { signFrame, signGap } from "@smile/schemas/signing";
import type { SealedWindows } from "./assemble.ts";
import type { FrameFormat } from "./frame-format.ts";

/** What windows are encrypted with. `keyId` is the SHA-256 of the public key, `bytes` the public key or the gateway's own secret key. */
export type WindowKey = { readonly keyId: string; readonly bytes: Uint8Array };

/** Versions in which envelopes are written. */
export type EnvelopeVersions = { readonly frame: number; readonly gap: number };

/**
 * Makes envelopes: encrypts windows into frames, and signs frames and gaps. Either key may change at any time: what is sealed from then
 * on carries the new one, and nothing that was sealed before is touched. Holds WASM memory, of one encryptor at a time: dispose of it.
 */
export class EnvelopeSealer implements Disposable {
  readonly #format: FrameFormat;
  readonly #versions: EnvelopeVersions;
  readonly #open: typeof openEncryptor;
  #keyId: string;
  #encryptor: FrameEncryptor;
  #signingKey: KeyObject;
  #turn: Promise<unknown> = Promise.resolve();
  #disposed = false;

  /**
   * @param signingKey the gateway's Ed25519 secret key
   * @param open opens the encryptor of a key; tests pass their own
   * @throws {PipelineError} KEY_MISMATCH, PLAN_REFUSED
   */
  static async open(
    format: FrameFormat,
    keys: { readonly key: WindowKey; readonly signingKey: KeyObject; readonly versions: EnvelopeVersions },
    open = openEncryptor,
  ): Promise<EnvelopeSealer> {
    const { key, signingKey, versions } = keys;
    const encryptor = await open(format.params, { mode: format.kind.keyMode, bytes: key.bytes });
    return new EnvelopeSealer({ format, versions, open, keyId: key.keyId, encryptor, signingKey });
  }

  private constructor(parts: {
    format: FrameFormat;
    versions: EnvelopeVersions;
    open: typeof openEncryptor;
    keyId: string;
    encryptor: FrameEncryptor;
    signingKey: KeyObject;
  }) {
    this.#format = parts.format;
    this.#versions = parts.versions;
    this.#open = parts.open;
    this.#keyId = parts.keyId;
    this.#encryptor = parts.encryptor;
    this.#signingKey = parts.signingKey;
  }

  /** Under which windows are encrypted now. */
  get keyId(): string {
    return this.#keyId;
  }

  /**
   * Encrypts under another key from now on. Calls take effect in their order.
   * @throws {PipelineError} KEY_MISMATCH: the key before stays in force; STOPPED after dispose
   */
  useKey(key: WindowKey): Promise<void> {
    const change = this.#turn.then(async () => {
      if (key.keyId === this.#keyId) return;
      const { params, kind } = this.#format;
      const encryptor = await this.#open(params, { mode: kind.keyMode, bytes: key.bytes });
      if (this.#disposed) {
        encryptor[Symbol.dispose]();
        throw new PipelineError("STOPPED", "this agent seals nothing any more");
      }
      // In one step, between two frames: sealing is synchronous.
      const before = this.#encryptor;
      this.#encryptor = encryptor;
      this.#keyId = key.keyId;
      before[Symbol.dispose]();
    });
    this.#turn = change.catch(() => {});
    return change;
  }

  /** Signs with another key from now on. */
  useSigningKey(key: KeyObject): void {
    this.#signingKey = key;
  }

  /**
   * Encrypts windows into the envelope of one frame.
   * @param closedAtMs by the gateway's clock, milliseconds since 1970
   * @returns bytes of a Frame envelope
   */
  sealFrame(id: MessageId, { block, frameTimeMs, entries }: SealedWindows, closedAtMs: number): Uint8Array {
    const { kind, params, featureCount, lanes } = this.#format;
    const placed = entries.map(({ lane, window }) => ({ lane, features: window.features }));
    const ciphertext = this.#encryptor.encrypt(packLanes(placed, params.n, featureCount));
    const frame = {
      ...kind,
      ...id,
      keyId: this.#keyId,
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
    };
    return frameCodec.encode(signFrame(frame, this.#signingKey), this.#versions.frame);
  }

  /** @returns bytes of a Gap envelope */
  sealGap(gap: Omit<Gap, "signature">): Uint8Array {
    return gapCodec.encode(signGap(gap, this.#signingKey), this.#versions.gap);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#encryptor[Symbol.dispose]();
  }
}
