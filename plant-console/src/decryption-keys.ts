import { openDecryptor } from "@smile/custody/decryptor";
import type { Keystore } from "@smile/custody/keystore";
import { PipelineError } from "@smile/errors/pipeline-error";
import { featureCount } from "@smile/features/feature-count";
import { paramsId } from "@smile/he/params";
import type { Deployment } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { DecryptionKey } from "./score-reader.ts";

/** A secret key of a plant, with what it is for. */
export type SecretKey = {
  /** The gateway whose key it is in symmetric mode; null for the plant-wide key. */
  readonly gateway: string | null;
  readonly paramsId: string;
  readonly keyId: string;
  readonly secretKey: Uint8Array;
};

/** The secret keys of a keystore, as bytes. */
export function toSecretKeys({ keys }: Keystore): SecretKey[] {
  return keys.map(({ gateway, paramsId, keyId, secretKey }) => ({
    gateway,
    paramsId,
    keyId,
    secretKey: new Uint8Array(Buffer.from(secretKey, "base64")),
  }));
}

/** Open decryptors; they hold secret keys in memory until disposed of. */
export type OpenKeys = Disposable & { readonly keys: readonly DecryptionKey[] };

/**
 * Opens a decryptor for each key that fits the deployment's parameters and key mode; keys of other deployments are passed over.
 * @throws {PipelineError} KEY_MISMATCH when no key fits, or one was not made for the parameters that it names
 */
export async function openDecryptionKeys(deployment: Deployment, secretKeys: readonly SecretKey[]): Promise<OpenKeys> {
  const params = paramsFromDocument(deployment.params);
  const id = paramsId(params);
  const perGateway = deployment.keyMode === "symmetric";
  const fitting = secretKeys.filter((key) => key.paramsId === id && (key.gateway !== null) === perGateway);
  if (fitting.length === 0) {
    const what = `no key is made for the deployment's parameters in ${deployment.keyMode} mode`;
    throw new PipelineError("KEY_MISMATCH", what, { paramsId: id, keys: secretKeys.length });
  }
  const features = featureCount(deployment.featureSet);
  using opened = new DisposableStack();
  const keys: DecryptionKey[] = [];
  for (const { keyId, gateway, secretKey } of fitting) {
    keys.push({ keyId, gateway, decryptor: opened.use(await openDecryptor(params, secretKey, features)) });
  }
  const owned = opened.move();
  return { keys, [Symbol.dispose]: () => owned.dispose() };
}
