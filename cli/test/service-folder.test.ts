import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { initService, renewService, type ServiceInit } from "../src/operator/service-folder.ts";

it("an operator's folder is whole when two make it at once: one is refused, and clears nothing away", async () => {
  const outside = mkdtempSync(join(tmpdir(), "smile-operator-"));
  try {
    const folder = join(outside, "operator");
    const options: ServiceInit = { folder, name: "operator", hosts: ["localhost"], tls: true, days: 1, nowMs: Date.now() };
    const both = await Promise.allSettled([initService(options), initService(options)]);
    expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(both[1]).toMatchObject({ reason: { code: "CONFIG_INVALID" } });
    expect(existsSync(join(folder, "model-service", "signing-key.json"))).toBe(true);
    expect(await renewService({ folder, days: 1, nowMs: options.nowMs })).toMatchObject({ hosts: ["localhost"] });
  } finally {
    rmSync(outside, { recursive: true });
  }
});
