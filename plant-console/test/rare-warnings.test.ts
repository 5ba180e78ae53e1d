import type { Logger } from "@smile/runtime/logging";
import { expect, it, vi } from "vitest";
import { RareWarnings } from "../src/rare-warnings.ts";

it("warns of each kind once in a second, however many there are, and says how many there were", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  try {
    const lines: unknown[] = [];
    const warnings = new RareWarnings({ warn: (facts: object, text: string) => lines.push({ ...facts, text }) } as unknown as Logger);
    for (let i = 0; i < 1000; i++) {
      warnings.warn("SIGNATURE_INVALID", { offset: i }, "score refused");
      warnings.warn("KEY_UNKNOWN", { offset: i }, "score refused");
    }
    vi.advanceTimersByTime(1000);
    warnings.warn("SIGNATURE_INVALID", { offset: 1000 }, "score refused");
    expect(lines).toEqual([
      { offset: 0, total: 1, text: "score refused" },
      { offset: 0, total: 1, text: "score refused" },
      { offset: 1000, total: 1001, text: "score refused" },
    ]);
  } finally {
    vi.useRealTimers();
  }
});
