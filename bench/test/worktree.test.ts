import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openWorktree } from "../harness/worktree.ts";

// A small repository of the same layout: a package of the workspace, one that was installed, and a bench.
const root = mkdtempSync(join(tmpdir(), "smile-worktree-test-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const git = (...args: string[]) =>
  execFileSync("git", ["-C", root, "-c", "user.name=test", "-c", "user.email=test@example.org", ...args], { encoding: "utf8" }).trim();
const write = (path: string, text: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
};
const speed = (value: string) => `export const speed = "${value}";\n`;

git("init", "--quiet");
write("package.json", JSON.stringify({ type: "module", workspaces: ["engine"] }));
write("engine/package.json", JSON.stringify({ name: "@smile/engine", type: "module", exports: { "./*": "./src/*.ts" } }));
write(".gitignore", "node_modules/\n");
write("engine/src/speed.ts", speed("old"));
write("bench/main.ts", "throw new Error('the bench of the other revision');\n");
git("add", ".");
git("commit", "--quiet", "-m", "old");
const old = git("rev-parse", "HEAD");
write("engine/src/speed.ts", speed("new"));
write("bench/main.ts", 'import { speed } from "@smile/engine/speed";\nimport { kept } from "installed";\nconsole.log(speed, kept);\n');
write("node_modules/installed/package.json", JSON.stringify({ type: "module", exports: "./index.js" }));
write("node_modules/installed/index.js", 'export const kept = "installed";\n');
mkdirSync(join(root, "node_modules/@smile"));
symlinkSync("../../engine", join(root, "node_modules/@smile/engine"));

const run = (folder: string) => spawnSync(process.execPath, [join(folder, "bench/main.ts")], { encoding: "utf8" }).stdout.trim();

it("runs this bench on the other revision's packages with the dependencies installed here, and leaves nothing behind", () => {
  let folder: string;
  {
    using other = openWorktree(root, "HEAD");
    folder = other.folder;
    expect(other.commit).toBe(old);
    expect(run(folder)).toBe("old installed");
    expect(run(root)).toBe("new installed");
  }
  expect(existsSync(folder)).toBe(false);
  expect(git("worktree", "list").split("\n")).toHaveLength(1);
});

it("refuses what is no revision, an option of git included", () => {
  for (const revision of ["no-such-branch", "--all"]) expect(() => openWorktree(root, revision)).toThrow(/CONFIG_INVALID/);
});
