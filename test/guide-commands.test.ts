import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "./support/small-deployment.ts";
import { ROOT, startShell } from "./support/smile-process.ts";

/** A block of commands and, where one follows, what the document says that they print. */
type Step = { readonly commands: string; readonly printed: string | undefined };

/** The blocks ` ```sh NAME ` of a document, each with the ` ```text ` block behind it. Blocks in lists are indented. */
function stepsOf(path: string, name: string): Step[] {
  const blocks = new RegExp(`^( *)\`\`\`sh ${name}\\n(.*?)^ *\`\`\`\\n(?:\\n *\`\`\`text\\n(.*?)^ *\`\`\`)?`, "gms");
  return Array.from(readFileSync(join(ROOT, path), "utf8").matchAll(blocks), ([, indent, commands, printed]) => {
    const flush = (text: string) => text.replaceAll(new RegExp(`^${indent}`, "gm"), "");
    return { commands: flush(commands!).replaceAll("npx smile", "smile"), printed: printed && flush(printed) };
  });
}

/** Without what differs from run to run: hashes, keys, times. */
const withoutChance = (text: string) =>
  text
    .replace(/\b[0-9a-f]{64}\b/g, "HASH")
    .replace(/\b[0-9a-f]{12}…/g, "HASH…")
    .replace(/\b\d{4}-\d\d-\d\d(T[\d:.]+Z)?/g, "TIME")
    .replace(/=[A-Z][a-z]{2} +\d+ [\d:]+ \d{4} GMT/g, "=TIME")
    .trimEnd();

/** A line `...` stands for any number of lines. */
const asPattern = (text: string) => new RegExp(`^${RegExp.escape(text).replace(/(?<=^|\\n)\\.\\.\\.(?=\\n|$)/gm, "[^]*")}$`);

it("the guide for security officers prints what it says, from nothing to a plant with its keys changed and a gateway revoked", async () => {
  using folder = temporaryFolder();
  const run = async (commands: string): Promise<string> => {
    const options = { cwd: folder.path, env: { SMILE_PASSPHRASE: "correct horse battery staple", SMILE_PASSPHRASE_FILE: "" } };
    const { code, stdout, stderr } = await startShell(commands, options).ended;
    expect(code, `${commands}\n${stderr}`).toBe(0);
    return stdout;
  };
  const follow = async (steps: readonly Step[]) => {
    expect(steps.length).toBeGreaterThan(0);
    for (const { commands, printed } of steps) {
      const found = withoutChance(await run(commands));
      if (printed !== undefined) expect(found, commands).toMatch(asPattern(withoutChance(printed)));
    }
  };
  await run("smile train --out model");
  await follow(stepsOf("docs/operations.md", "operator"));
  copyFileSync(join(folder.path, "model/deployment.json"), join(folder.path, "deployment.json"));
  copyFileSync(join(folder.path, "operator/service.json"), join(folder.path, "service.json"));
  await follow(stepsOf("docs/guides/security-officer.md", "officer"));
}, 180_000);
