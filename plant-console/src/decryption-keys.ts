import { openDecryptor, type ReplyDecryptor } from "@smile/custody/decryptor";
import type { Keystore } from "@smile/custody/keystore";
import { PipelineError } from "@smile/errors/pipeline-error";
import { featureCount } from "@smile/features/feature-count";
import { type Params, paramsId } from "@smile/he/params";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { AnyDeployment } from "@smile/schemas/record-documents";
import type { DecryptionKey, ScoreDecryptor, ScoreKeys } from "./score-reader.ts";

/** A secret key of a plant, with what it is for. */
export type SecretKey = {
  /** The gateway whose key it is in symmetric mode; null for the plant-wide key. */
  readonly gateway: string | null;
  readonly paramsId: string;
  readonly keyId: string;
  /** Which of the plant's key changes made it. */
  readonly keyEpoch: number;
  readonly secretKey: Uint8Array;
};

/** The secret keys of a keystore, as bytes; those that gateways do not use yet, and those that retire, too. */
export function toSecretKeys({ keys }: Pick<Keystore, "keys">): SecretKey[] {
  return keys.map(({ gateway, paramsId, keyId, keyEpoch, secretKey }) => {
    return { gateway, paramsId, keyId, keyEpoch, secretKey: new Uint8Array(Buffer.from(secretKey, "base64")) };
  });
}

/** Told of a key the first time that it is used, before it decrypts. What it throws is thrown by the decryption. */
export type OnFirstUse = (key: { readonly keyId: string; readonly keyEpoch: number }) => void;

type OpenKey = DecryptionKey & { readonly handle: ReplyDecryptor };

/**
 * Open decryptors of the keys that fit a deployment's parameters and key mode. They hold secret keys in memory outside JavaScript's heap
 * until they are replaced or disposed of.
 */
export class DecryptionKeys implements ScoreKeys, Disposable {
  readonly #params: Params;
  readonly #paramsId: string;
  readonly #deployment: AnyDeployment;
  readonly #onFirstUse: OnFirstUse;
  #open: ReadonlyMap<string, OpenKey> = new Map();

  constructor(deployment: AnyDeployment, onFirstUse: OnFirstUse = () => {}) {
    this.#params = paramsFromDocument(deployment.params);
    this.#paramsId = paramsId(this.#params);
    this.#deployment = deployment;
    this.#onFirstUse = onFirstUse;
  }

  find(keyId: string): DecryptionKey | undefined {
    return this.#open.get(keyId);
  }

  get keyIds(): readonly string[] {
    return [...this.#open.keys()];
  }

  /**
   * Opens what is new among the fitting keys, then disposes of what is not there any more; in between both can be found. Calls must
   * not overlap.
   * @throws {PipelineError} KEY_MISMATCH when one was not made for the parameters that it names; then nothing has changed
   */
  async replace(secretKeys: readonly SecretKey[]): Promise<void> {
    const perGateway = this.#deployment.keyMode === "symmetric";
    const fitting = secretKeys.filter((key) => key.paramsId === this.#paramsId && (key.gateway !== null) === perGateway);
    const features = featureCount(this.#deployment.featureSet);
    using opened = new DisposableStack();
    const next = new Map<string, OpenKey>();
    for (const { keyId, keyEpoch, gateway, secretKey } of fitting) {
      const known = this.#open.get(keyId);
      const handle = known ? undefined : opened.use(await openDecryptor(this.#params, secretKey, features, this.#deployment.replies));
      next.set(keyId, known ?? { keyId, gateway, handle: handle!, decryptor: this.#noted(handle!, { keyId, keyEpoch }) });
    }
    opened.move();
    this.#take(next);
  }

  /** Disposes of the decryptors of all other keys. */
  retain(isWanted: (keyId: string) => boolean): void {
    this.#take(new Map([...this.#open].filter(([keyId]) => isWanted(keyId))));
  }

  /** @throws {PipelineError} KEY_MISMATCH when no key fits the deployment */
  requireAny(): void {
    if (this.#open.size > 0) return;
    const what = `no key is made for the deployment's parameters in ${this.#deployment.keyMode} mode`;
    throw new PipelineError("KEY_MISMATCH", what, { paramsId: this.#paramsId });
  }

  [Symbol.dispose](): void {
    this.#take(new Map());
  }

  #take(next: ReadonlyMap<string, OpenKey>): void {
    const before = this.#open;
    this.#open = next;
    for (const [keyId, { handle }] of before) if (!next.has(keyId)) handle[Symbol.dispose]();
  }

  #noted(handle: ReplyDecryptor, key: Parameters<OnFirstUse>[0]): ScoreDecryptor {
    let used = false;
    return {
      decrypt: (reply, lanes) => {
        if (!used) this.#onFirstUse(key);
        used = true;
        return handle.decrypt(reply, lanes);
      },
    };
  }
}

/** @throws {PipelineError} KEY_MISMATCH when no key fits, or one was not made for the parameters that it names */
export async function openDecryptionKeys(
  deployment: AnyDeployment,
  secretKeys: readonly SecretKey[],
  onFirstUse?: OnFirstUse,
): Promise<DecryptionKeys> {
  using opened = new DisposableStack();
  const keys = opened.use(new DecryptionKeys(deployment, onFirstUse));
  await keys.replace(secretKeys);
  keys.requireAny();
  opened.move();
  return keys;
}
