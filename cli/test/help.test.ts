import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT, smile } from "../../test/support/smile-process.ts";

const services = ["edge-agent", "stream-processor", "model-service", "plant-console"];
const commands = ["demo", "train", "plant", "service", "segment", "simulate", ...services];

describe("smile", () => {
  it("lists every command, and tells its version", async () => {
    const [help, version] = await Promise.all([smile(["--help"]), smile(["--version"])]);
    expect(help).toMatchObject({ code: 0, stderr: "" });
    for (const command of commands) expect(help.stdout).toMatch(new RegExp(`^ +${command} `, "m"));
    const manifest = JSON.parse(readFileSync(join(ROOT, "cli/package.json"), "utf8")) as { version: string };
    expect(version).toMatchObject({ code: 0, stdout: `${manifest.version}\n` });
  });

  it("explains every command with --help", async () => {
    await Promise.all(
      commands.map(async (command) => {
        const { code, stdout, stderr } = await smile([command, "--help"]);
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        expect(stdout).toContain(`smile ${command}`);
        expect(stdout).toContain("--help");
        if (services.includes(command)) expect(stdout).toContain("--config FILE");
      }),
    );
  });

  it("refuses a command and an option that it does not know, by name", async () => {
    const [command, option] = await Promise.all([smile(["fly"]), smile(["simulate", "--fly"])]);
    expect(command).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("fly") });
    expect(option).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("--fly") });
  });

  it("ends a service whose configuration is missing or none with 78, and says what is wrong", async () => {
    const nowhere = join(ROOT, "nowhere.json");
    const wrong = services.map((service) => smile([service, "--config", nowhere]));
    const others = [smile(["edge-agent"]), smile(["model-service", "--config", join(ROOT, "package.json")])] as const;
    for (const ended of await Promise.all(wrong)) expect(ended).toMatchObject({ code: 78, stderr: expect.stringContaining(nowhere) });
    const [without, unfit] = await Promise.all(others);
    expect(without).toMatchObject({ code: 78, stderr: expect.stringContaining("--config") });
    expect(unfit).toMatchObject({ code: 78, stderr: expect.stringContaining("workspaces") });
  });
});
