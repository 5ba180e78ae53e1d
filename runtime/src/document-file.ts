import { PipelineError } from "@smile/errors/pipeline-error";
import { type Deployment, DeploymentDocument, parseDocument } from "@smile/schemas/documents";
import type { z } from "zod";
import type { Environment } from "./config.ts";
import { readJsonFile } from "./json-file.ts";

/**
 * A document of a JSON file.
 * @param what names the file's role in the error, such as `deployment`
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, each naming the file; none quotes the content
 */
export function readDocument<T>(schema: z.ZodType<T>, path: string, what: string): T {
  return parseDocument(schema, readJsonFile(path, what), path);
}

/** The variable that lets processes of a test run without encryption, and the one value that does. */
export const ALLOW_UNENCRYPTED = { SMILE_ALLOW_UNENCRYPTED: "for tests" } as const;

/**
 * A deployment of a file. Deployments come from the model owner, and the identity scheme does not encrypt: so that no document can
 * switch encryption off, it is refused unless the environment allows it in so many words.
 * @throws {PipelineError} as `readDocument`; DOCUMENT_INVALID also for the identity scheme
 */
export function readDeployment(path: string, env: Environment): Deployment {
  const deployment = readDocument(DeploymentDocument, path, "deployment");
  if (deployment.params.scheme === "identity" && env.SMILE_ALLOW_UNENCRYPTED !== ALLOW_UNENCRYPTED.SMILE_ALLOW_UNENCRYPTED) {
    throw new PipelineError("DOCUMENT_INVALID", `${path}: params.scheme is identity, which does not encrypt`, { path });
  }
  return deployment;
}
