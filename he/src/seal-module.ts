import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { MainModule, SEALContext } from "node-seal";
import initialize from "node-seal";
import type { Params } from "./params.ts";

/** One WASM instance of SEAL with a context for one set of parameters. */
export type SealSession = Disposable & {
  readonly seal: MainModule;
  readonly context: SEALContext;
  readonly params: Params;
  /** The WASM memory; another buffer once it has grown. */
  memory(): ArrayBufferLike;
  /** Size of the WASM memory in bytes; it grows and never shrinks. */
  memoryBytes(): number;
};

/**
 * Starts a WASM instance of its own (17 to 25 ms, 16 MB) and builds the context.
 * @throws {PipelineError} PLAN_REFUSED when SEAL finds the parameters unsound or not of 128-bit security
 */
export async function openSeal(params: Params): Promise<SealSession> {
  const module = await WebAssembly.compile(await readFile(fileURLToPath(new URL("./seal_throws.wasm", import.meta.resolve("node-seal")))));
  let memory: WebAssembly.Memory | undefined;
  const seal = await initialize({
    // The generated loader keeps its memory to itself; taking part in the instantiation is the way to measure it.
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance, module: WebAssembly.Module) => void) {
      const instance = new WebAssembly.Instance(module, imports);
      memory = Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory);
      done(instance, module);
      return instance.exports;
    },
  });
  using settings = new seal.EncryptionParameters(seal.SchemeType.bgv);
  using primes = new seal.VectorModulus();
  using q = new seal.Modulus(params.q);
  using t = new seal.Modulus(BigInt(params.t));
  primes.push_back(q);
  settings.setPolyModulusDegree(params.n);
  settings.setCoeffModulus(primes);
  settings.setPlainModulus(t);
  const context = new seal.SEALContext(settings, false, seal.SecLevelType.tc128);
  if (!context.parametersSet()) {
    context.delete();
    throw new PipelineError("PLAN_REFUSED", "SEAL refuses these parameters at 128 bits of security", {
      n: params.n,
      qBits: params.q.toString(2).length,
      tBits: Math.log2(params.t),
    });
  }
  return {
    seal,
    context,
    params,
    memory: () => memory!.buffer,
    memoryBytes: () => memory!.buffer.byteLength,
    [Symbol.dispose]: () => context.delete(),
  };
}
