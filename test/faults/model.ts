import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { readDocument } from "@smile/runtime/document-file";
import { DeploymentDocument, HeadDocument } from "@smile/schemas/documents";
import { ROOT } from "../support/smile-process.ts";
import { dyingWithUs } from "./isolation.ts";
import type { Model } from "./plant.ts";

/** Trains the model of the simulated fleet, as `smile train` does for anybody. */
export async function trainModel(folder: string): Promise<Model> {
  const [file, ...args] = dyingWithUs([process.execPath, join(ROOT, "cli/src/main.ts"), "train", "--out", folder]);
  await promisify(execFile)(file!, args);
  const paths = { deploymentPath: join(folder, "deployment.json"), headPath: join(folder, "head.json") };
  return {
    ...paths,
    deployment: readDocument(DeploymentDocument, paths.deploymentPath, "deployment"),
    head: readDocument(HeadDocument, paths.headPath, "head"),
  };
}
