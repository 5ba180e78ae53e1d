import type { EncryptionKey, Evaluator, FrameEncryptor } from "./backend.ts";
import { openIdentityEncryptor, openIdentityEvaluator } from "./identity-backend.ts";
import type { Params } from "./params.ts";
import { openSealEncryptor, openSealEvaluator } from "./seal-backend.ts";

/**
 * A gateway's encryptor for the scheme that the parameters name. Dispose of it: it holds WASM memory.
 * @throws {PipelineError} KEY_MISMATCH, PLAN_REFUSED
 */
export async function openEncryptor(params: Params, key: EncryptionKey): Promise<FrameEncryptor> {
  return params.scheme === "bgv" ? openSealEncryptor(params, key) : openIdentityEncryptor(params, key);
}

/**
 * The service's evaluator for the scheme that the parameters name. Dispose of it: it holds WASM memory.
 * @throws {PipelineError} PLAN_REFUSED
 */
export async function openEvaluator(params: Params): Promise<Evaluator> {
  return params.scheme === "bgv" ? openSealEvaluator(params) : openIdentityEvaluator(params);
}
