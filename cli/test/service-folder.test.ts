import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { initService, renewService, type ServiceInit } from "../src/operator/service-folder.ts";

it("an operator's folder is whole when two make it at once, and its authority's key is used while nobody else may read it", async () => {
  const outside = mkdtempSync(join(tmpdir(), "smile-operator-"));
  try {
    const folder = join(outside, "operator");
    const options: ServiceInit = { folder, name: "operator", hosts: ["localhost"], tls: true, days: 1, nowMs: Date.now() };
    const both = await Promise.allSettled([initService(options), initService(options)]);
    expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(both[1]).toMatchObject({ reason: { code: "CONFIG_INVALID" } });
    expect(existsSync(join(folder, "model-service", "signing-key.json"))).toBe(true);
    const renew = () => renewService({ folder, days: 1, nowMs: options.nowMs });
    expect(await renew()).toMatchObject({ hosts: ["localhost"] });
    chmodSync(join(folder, "authority-key.pem"), 0o644);
    await expect(renew()).rejects.toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining("0600") });
  } finally {
    rmSync(outside, { recursive: true });
  }
});
