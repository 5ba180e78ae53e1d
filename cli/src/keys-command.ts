import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createKeystore, gatewayKeys, publicKeys, writeKeystore } from "@smile/custody/keystore";
import { readDeployment } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { Command } from "commander";
import { shared } from "./options.ts";

type KeysOptions = { deployment: string; plant: string; out: string; gateway: string[]; json?: boolean };

/** `smile keys` */
export function keysCommand(): Command {
  return new Command("keys")
    .description(
      "Make a plant's keys for a deployment: keystore.json (secret, for the plant console), public-key*.json (for the model service and, in public mode, the gateways) and, in symmetric mode, gateway-key-*.json (secret, one per gateway)",
    )
    .requiredOption("--deployment <file>", "the deployment document")
    .requiredOption("--plant <name>", "name of the plant")
    .requiredOption("--out <folder>", "where the files go; an existing keystore is never replaced")
    .option("--gateway <names...>", "names of the gateways, needed in symmetric mode", [])
    .addOption(shared.json())
    .action(makeKeys);
}

async function makeKeys({ deployment: path, plant, out, gateway, json }: KeysOptions): Promise<void> {
  const deployment = readDeployment(path, process.env);
  const keystore = await createKeystore(plant, paramsFromDocument(deployment.params), deployment.keyMode, gateway);
  mkdirSync(out, { recursive: true });
  const files = [join(out, "keystore.json")];
  writeKeystore(files[0]!, keystore);
  const write = (name: string, owner: string | null, document: object, mode?: number) => {
    const file = join(out, owner === null ? `${name}.json` : `${name}-${owner}.json`);
    writeJsonFile(file, document, mode);
    files.push(file);
  };
  for (const key of publicKeys(keystore)) write("public-key", key.gateway, key);
  for (const key of gatewayKeys(keystore)) write("gateway-key", key.gateway, key, 0o600);
  const keyIds = keystore.keys.map(({ keyId }) => keyId);
  process.stdout.write(json ? `${JSON.stringify({ plant, keyIds, files })}\n` : `${files.join("\n")}\n`);
}
