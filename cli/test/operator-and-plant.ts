import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { smallDeployment, temporaryFolder } from "../../test/support/small-deployment.ts";
import { type Ended, smile } from "../../test/support/smile-process.ts";

export const PASSPHRASE = "nine winter geese";

/** A folder with a deployment, and a passphrase that commands find in the environment; commands run in it. */
export type Desk = Disposable & {
  readonly folder: string;
  /** Runs `smile` with a passphrase file in its environment. */
  run(...args: readonly string[]): Promise<Ended>;
  /** Runs it with `--json`, and reads its last line. */
  json<T = Record<string, unknown>>(...args: readonly string[]): Promise<T>;
  read<T = Record<string, unknown>>(...path: string[]): T;
};

export async function desk({ keyMode = "public" }: { keyMode?: "public" | "symmetric" } = {}): Promise<Desk> {
  const temporary = temporaryFolder();
  const { path: folder } = temporary;
  using small = await smallDeployment({ scheme: "bgv", keyMode });
  writeFileSync(join(folder, "deployment.json"), JSON.stringify(small.deployed.deployment));
  writeFileSync(join(folder, "passphrase"), `${PASSPHRASE}\n`, { mode: 0o600 });
  const run = (...args: readonly string[]) =>
    smile(args, { cwd: folder, env: { SMILE_PASSPHRASE_FILE: join(folder, "passphrase"), SMILE_PASSPHRASE: "" } });
  return {
    folder,
    run,
    json: async <T>(...args: readonly string[]) => {
      const { code, stdout, stderr } = await run(...args, "--json");
      if (code !== 0) throw new Error(`smile ${args.join(" ")} ended with ${code}: ${stderr}`);
      return JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as T;
    },
    read: <T>(...path: string[]) => JSON.parse(readFileSync(join(folder, ...path), "utf8")) as T,
    [Symbol.dispose]: () => temporary[Symbol.dispose](),
  };
}
