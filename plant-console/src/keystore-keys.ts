import { type DestroyedKey, destroyExpired, type Keystore, readKeystore, writeKeystore } from "@smile/custody/keystore";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { AuditLog } from "@smile/runtime/audit-log";
import { lookAtFile } from "@smile/runtime/file-look";
import type { Logger } from "@smile/runtime/logging";
import type { AnyDeployment } from "@smile/schemas/record-documents";
import { DecryptionKeys, toSecretKeys } from "./decryption-keys.ts";
import type { DecryptionKey, ScoreKeys } from "./score-reader.ts";

export type KeystoreKeysOptions = {
  readonly path: string;
  readonly plant: string;
  readonly deployment: AnyDeployment;
  /** Asked for at every reading, so that it need not be kept here. */
  readonly passphrase: () => Promise<string>;
  readonly logger: Logger;
  readonly audit: AuditLog;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: () => number;
  /** Of scrypt, for the file that is written when a key is destroyed. Only tests have a reason to name one. */
  readonly cost?: number;
};

/** When the file is looked at again, changed or not, after it could not be read or written. */
const TRY_AGAIN_MS = 60_000;

/**
 * The decryptors of a keystore file: opened for what is new in it, disposed of for what has left it. A key whose retention has ended is
 * destroyed: its decryptor goes, then its secret from the file, and the audit log tells of it.
 */
export class KeystoreKeys implements ScoreKeys, AsyncDisposable {
  readonly #options: KeystoreKeysOptions;
  readonly #open: DecryptionKeys;
  readonly #now: () => number;
  #stamp = "";
  /** Ids of keys that were destroyed, or whose time for it has come. */
  readonly #destroyed = new Set<string>();
  /** When the retention of retiring keys ends, by id. */
  #ends: ReadonlyMap<string, number> = new Map();
  #tryAgainAtMs = Number.POSITIVE_INFINITY;
  #working: Promise<void> = Promise.resolve();
  #isStopping = false;

  private constructor(options: KeystoreKeysOptions) {
    const { deployment, audit } = options;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#open = new DecryptionKeys(deployment, ({ keyId, keyEpoch }) => audit.append("key-used", { keyEpoch, keyId }));
  }

  /**
   * @throws {PipelineError} as `readKeystore`; PASSPHRASE_MISSING; CONFIG_INVALID when the keystore is another plant's; KEY_MISMATCH when
   *   no key fits the deployment; STORE_UNAVAILABLE
   */
  static async open(options: KeystoreKeysOptions): Promise<KeystoreKeys> {
    await using opened = new AsyncDisposableStack();
    const keys = opened.use(new KeystoreKeys(options));
    await keys.#read();
    keys.#open.requireAny();
    const { replies } = options.deployment;
    if (replies !== undefined && replies.step > 1)
      options.logger.warn({ ...replies }, "scores are rounded: keep them and the risks within the plant");
    opened.move();
    return keys;
  }

  find(keyId: string): DecryptionKey | "destroyed" | undefined {
    if ((this.#ends.get(keyId) ?? Number.POSITIVE_INFINITY) <= this.#now()) return "destroyed";
    return this.#open.find(keyId) ?? (this.#destroyed.has(keyId) ? "destroyed" : undefined);
  }

  /**
   * Reads the keystore if its file changed, and destroys what is due. One call after the other; the event loop goes on meanwhile.
   * What fails is logged: the keys that were open stay open, less those that are due.
   */
  async refresh(): Promise<void> {
    this.#working = this.#working.then(async () => {
      if (this.#isStopping) return;
      const nowMs = this.#now();
      const isDue = this.#endRetention(nowMs);
      if (!isDue && nowMs < this.#tryAgainAtMs && lookAtFile(this.#options.path).stamp === this.#stamp) return;
      this.#tryAgainAtMs = Number.POSITIVE_INFINITY;
      try {
        await this.#read();
      } catch (error) {
        this.#options.logger.error({ err: error }, "the keystore cannot be taken anew; the keys that were open stay open");
        this.#tryAgainAtMs = nowMs + TRY_AGAIN_MS;
      }
    });
    await this.#working;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    await this.#working;
    this.#open[Symbol.dispose]();
  }

  async #read(): Promise<void> {
    const { path, plant, audit, logger } = this.#options;
    const passphrase = await this.#options.passphrase();
    // Before the reading: what is written during it is read at the next look.
    this.#stamp = lookAtFile(path).stamp;
    const found = await readKeystore(path, passphrase);
    if (found.plant !== plant) {
      throw new PipelineError("CONFIG_INVALID", `keystore: ${path} holds keys of plant ${found.plant}, not ${plant}`);
    }
    const { keystore, destroyed } = destroyExpired(found, this.#now());
    const before = this.#open.keyIds;
    await this.#open.replace(toSecretKeys(keystore));
    for (const { keyId } of keystore.destroyed) this.#destroyed.add(keyId);
    this.#ends = new Map(keystore.keys.flatMap(({ keyId, untilMs }) => (untilMs === null ? [] : [[keyId, untilMs]])));
    if (destroyed.length > 0) await this.#destroy(keystore, destroyed, passphrase);
    if (this.#open.keyIds.every((keyId) => before.includes(keyId))) return;
    const keyEpochs = [...new Set(keystore.keys.map(({ keyEpoch }) => keyEpoch))].join(",");
    audit.append("keystore-opened", { keyEpochs, keys: keystore.keys.length });
    logger.info({ keyEpochs, open: this.#open.keyIds.length }, "keystore opened");
  }

  /** Disposes of the decryptors of keys whose time has come, whatever becomes of the file. @returns whether there are any */
  #endRetention(nowMs: number): boolean {
    const due = [...this.#ends].flatMap(([keyId, untilMs]) => (untilMs <= nowMs ? [keyId] : []));
    if (due.length === 0) return false;
    for (const keyId of due) this.#destroyed.add(keyId);
    this.#ends = new Map([...this.#ends].filter(([, untilMs]) => untilMs > nowMs));
    this.#open.retain((keyId) => !due.includes(keyId));
    return true;
  }

  /** Takes the secrets out of the file, then records it: the file itself keeps the names of what was destroyed. */
  async #destroy(keystore: Keystore, destroyed: readonly DestroyedKey[], passphrase: string): Promise<void> {
    const { path, audit, logger, cost } = this.#options;
    try {
      await writeKeystore(path, keystore, passphrase, { replace: true, ...(cost !== undefined && { cost }) });
    } catch (error) {
      logger.error({ err: error }, "keys whose retention ended are not used any more, but still stand in the keystore");
      this.#tryAgainAtMs = this.#now() + TRY_AGAIN_MS;
      return;
    }
    for (const { keyEpoch, keyId, gateway, paramsId } of destroyed) {
      audit.append("key-destroyed", { keyEpoch, keyId, paramsId, ...(gateway !== null && { gateway }) });
      logger.info({ keyEpoch, keyId }, "destroyed a key whose retention ended");
    }
  }
}
