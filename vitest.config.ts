import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["*/test/**/*.test.ts", "test/**/*.test.ts"],
    // WASM instances and worker threads live in each test file's own process: a leak in one cannot hide in another.
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
