// The part of the WebAssembly API that seal-module.ts uses: @types/node leaves it to lib "dom", which would bring a browser along.
declare namespace WebAssembly {
  type Imports = Record<string, Record<string, unknown>>;
  class Memory {
    readonly buffer: ArrayBuffer;
  }
  class Module {
    private readonly opaque: never;
  }
  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Record<string, unknown>;
  }
  function compile(bytes: Uint8Array): Promise<Module>;
}
