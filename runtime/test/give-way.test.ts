import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";

it("lowers the priority of the process that calls, and of nobody else", () => {
  const module = new URL("../src/give-way.ts", import.meta.url).href;
  const script = `const { getPriority } = await import("node:os"); const { giveWay } = await import("${module}"); giveWay(); console.log(getPriority())`;
  const own = process.platform === "win32" ? "7" : "10";
  expect(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }).trim()).toBe(own);
});
