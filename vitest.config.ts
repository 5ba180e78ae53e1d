import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["*/test/**/*.test.ts", "compose/*/test/**/*.test.ts", "test/**/*.test.ts"],
    globalSetup: "test/support/scratch-folder.ts",
    // WASM instances and worker threads live in each test file's own process: a leak in one cannot hide in another.
    pool: "forks",
    // Many tests wait for brokers and child processes: more workers than cores keep the cores busy.
    maxWorkers: 3,
    // Generous, since a busy machine is no failure: waits in tests are for conditions, never for time.
    testTimeout: 60_000,
    // Processes that tests start may run the scheme that does not encrypt.
    env: { SMILE_ALLOW_UNENCRYPTED: "for tests" },
    hookTimeout: 60_000,
  },
});
