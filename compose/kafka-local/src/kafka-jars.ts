import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { PipelineError } from "@smile/errors/pipeline-error";

const run = promisify(execFile);
const pom = fileURLToPath(new URL("../pom.xml", import.meta.url));

/** Where the jars are kept between runs: env SMILE_KAFKA_HOME (empty counts as not set), or a cache folder beside the installed packages. */
export function kafkaHome(env: Readonly<Record<string, string | undefined>>): string {
  return env.SMILE_KAFKA_HOME || fileURLToPath(new URL("../../../node_modules/.cache/smile-kafka", import.meta.url));
}

/**
 * Why this machine cannot run a local Kafka, or undefined when it can: Java 17 or newer, and Maven unless the jars are there already.
 * @param home folder of the jars
 */
export async function whyNoLocalKafka(home: string): Promise<string | undefined> {
  const java = await versionOf("java", ["-version"], /version "(\d+)/);
  if (java === undefined) return "Java is not installed";
  if (java < 17) return `Java is ${java}, and Kafka needs 17 or newer`;
  if (existsSync(await folderOfJars(home))) return undefined;
  return (await versionOf("mvn", ["-version"], /Maven (\d+)/)) === undefined ? "Maven is not installed" : undefined;
}

/**
 * Fetches Apache Kafka from Maven Central, or from the mirror that Maven is set up for: 45 MB, once for each content of pom.xml.
 * @param home folder that keeps them, made when missing
 * @returns the folder of the jars
 * @throws PipelineError TOOL_MISSING, DOWNLOAD_FAILED
 */
export async function fetchKafkaJars(home: string): Promise<string> {
  const missing = await whyNoLocalKafka(home);
  if (missing !== undefined) throw new PipelineError("TOOL_MISSING", missing);
  const folder = await folderOfJars(home);
  if (existsSync(folder)) return folder;
  await mkdir(home, { recursive: true });
  const unfinished = await mkdtemp(join(home, "fetching-"));
  try {
    const goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", `-DoutputDirectory=${unfinished}`];
    await run("mvn", ["--batch-mode", "--quiet", "--file", pom, ...goal], { maxBuffer: 16 << 20 });
    // A rename is all or nothing, so whatever has this name is complete.
    await rename(unfinished, folder);
  } catch (error) {
    // Another process may have been quicker.
    if (!existsSync(folder)) {
      throw new PipelineError("DOWNLOAD_FAILED", `Maven could not fetch Apache Kafka: ${firstComplaint(error)}`, { home }, error);
    }
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return folder;
}

async function folderOfJars(home: string): Promise<string> {
  const digest = createHash("sha256")
    .update(await readFile(pom))
    .digest("hex");
  return join(home, `jars-${digest.slice(0, 12)}`);
}

async function versionOf(program: string, args: readonly string[], pattern: RegExp): Promise<number | undefined> {
  try {
    const { stdout, stderr } = await run(program, args);
    return Number(pattern.exec(`${stdout}${stderr}`)?.[1]);
  } catch {
    return undefined;
  }
}

function firstComplaint(error: unknown): string {
  const { stdout = "", message } = error as Error & { stdout?: string };
  return /\[ERROR\] (.*)/.exec(stdout)?.[1] ?? message;
}
