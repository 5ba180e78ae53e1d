import { PipelineError } from "@smile/errors/pipeline-error";
import { type Deployment, DeploymentDocument, parseDocument } from "@smile/schemas/documents";
import { type AnyDeployment, AnyDeploymentDocument } from "@smile/schemas/record-documents";
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
 * A deployment of a file, for windows. Deployments come from the model owner, and the identity scheme does not encrypt: so that no
 * document can switch encryption off, it is refused unless the environment allows it in so many words.
 * @throws {PipelineError} as `readDocument`; DOCUMENT_INVALID also for the identity scheme
 */
export function readDeployment(path: string, env: Environment): Deployment {
  return encrypting(readDocument(DeploymentDocument, path, "deployment"), path, env);
}

/** A deployment of either kind, as services take them. @throws {PipelineError} as `readDeployment` */
export function readAnyDeployment(path: string, env: Environment): AnyDeployment {
  return encrypting(readDocument(AnyDeploymentDocument, path, "deployment"), path, env);
}

function encrypting<T extends AnyDeployment>(deployment: T, path: string, env: Environment): T {
  if (deployment.params.scheme === "identity" && env.SMILE_ALLOW_UNENCRYPTED !== ALLOW_UNENCRYPTED.SMILE_ALLOW_UNENCRYPTED) {
    throw new PipelineError("DOCUMENT_INVALID", `${path}: params.scheme is identity, which does not encrypt`, { path });
  }
  return deployment;
}
