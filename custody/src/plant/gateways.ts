import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { writeJsonFile } from "@smile/runtime/json-file";
import type { Lease } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { identityHash } from "@smile/schemas/plant-register";
import { MOST_SIGNERS } from "@smile/schemas/registered-plant";
import { newSigningKey } from "@smile/schemas/signing-key";
import { NAME } from "@smile/schemas/topics";
import { addGatewayKey, gatewayKeys, type Keystore, publicKeys, retireKeys } from "../keystore.ts";
import { agentConfiguration, GATEWAY_CONFIGURATIONS, keyFile, sourceConfiguration } from "./config-files.ts";
import { type IssueOptions, issueCredential, settled } from "./credentials.ts";
import { commit, type OpenPlant, openPlant, type PlantAccess } from "./open-plant.ts";
import { credentialPaths, nextFolder } from "./paths.ts";
import { type GatewayEntry, isInService, leasedLanes, type PlantDocument } from "./plant-document.ts";
import { writeServiceFiles } from "./service-file.ts";

/**
 * Registers a gateway: leases it the next free lanes, one per machine, or for records the next whole ciphertext; makes its signing key and
 * its certificate, and writes its folder.
 * @param machines "records" for a gateway that sends records of people
 * @throws {PipelineError} CONFIG_INVALID for a name or a machine that is taken, and where the deployment is for the other kind
 */
export async function addGateway(
  access: PlantAccess,
  { gateway, machines, ...issue }: { readonly gateway: string; readonly machines: readonly string[] | "records" } & IssueOptions,
) {
  using plant = await openPlant(access);
  const { document, deployment, service, paths } = plant;
  const forRecords = machines === "records";
  if (forRecords !== (deployment.kind === "segment-deployment")) {
    const what = forRecords
      ? "the plant's deployment is for machines: name them"
      : "the plant's deployment is for records: add it with --records";
    throw new PipelineError("CONFIG_INVALID", `gateway ${gateway}: ${what}`, { gateway });
  }
  checkNew(document, gateway, machines);
  const folder = paths.gateway(gateway);
  const keystore = await withGatewayKey(plant, gateway);
  const leased = forRecords
    ? { firstLane: wholeCiphertext(nextLane(document), deployment.lanes), machines: [], recordLanes: deployment.lanes }
    : { firstLane: nextLane(document), machines: [...machines] };

  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeJsonFile(join(folder, "deployment.json"), deployment);
  const { firstLane } = leased;
  if (!forRecords) {
    const lease: Lease = { gateway, firstLane, machines: leased.machines };
    writeJsonFile(join(folder, "lease.json"), lease, 0o600);
  }
  writeServiceFiles(folder, service, true);
  const credential = await newCredential(plant, gateway, folder, issue);
  const configure = forRecords ? sourceConfiguration : agentConfiguration;
  const configuration = configure(document.plant, gateway, deployment.keyMode, {
    service,
    tls: document.tls,
    identity: identityHash(document.identity),
  });
  writeJsonFile(join(folder, GATEWAY_CONFIGURATIONS[forRecords ? "records" : "machines"]), configuration);

  const entry: GatewayEntry = { gateway, ...leased, credentials: [{ ...credential.entry, state: "active" }] };
  const lanes = leasedLanes(entry);
  const { register } = await commit(plant, {
    document: { ...document, gateways: [...document.gateways, entry] },
    keystore,
    notes: [...credential.notes, ["gateway-added", { gateway, firstLane, lanes }]],
    handOut: () => writeKeyFile(folder, keystore, gateway, deployment.keyMode),
  });
  return { gateway, folder, firstLane, lanes, request: credential.request, serial: register.serial };
}

/**
 * Makes a gateway a new signing key and certificate. They are registered at once and wait in `next/` of its folder for
 * `activateCredential`, since the service has to know them before the gateway uses them. One that waited before is dropped.
 * @throws {PipelineError} CONFIG_INVALID for a gateway that is unknown or revoked, or has as many keys in force as count at once
 */
export async function renewGateway(access: PlantAccess, { gateway, ...issue }: { readonly gateway: string } & IssueOptions) {
  using plant = await openPlant(access);
  const { document, paths } = plant;
  const known = gatewayInService(document, gateway);
  const folder = nextFolder(paths.gateway(gateway));
  const kept = settled(known.credentials);
  checkRoom(kept, gateway, access.nowMs);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const credential = await newCredential(plant, gateway, folder, issue);
  const credentials = [...kept, { ...credential.entry, state: "next" as const }];
  const { register } = await commit(plant, {
    document: withGateway(document, { ...known, credentials }),
    notes: [...credential.notes, ["gateway-renewed", { gateway, signingKey: credential.entry.signingKey }]],
  });
  return { gateway, folder, request: credential.request, serial: register.serial };
}

/**
 * Ends every credential of a gateway, for good: nothing that it signed counts any more, nobody connects in its name. Its lanes stay
 * leased, so that nothing of it is ever taken for another's. In symmetric mode its key retires.
 * @param retainMs how long the key of symmetric mode is kept
 * @throws {PipelineError} CONFIG_INVALID for a gateway that is unknown or revoked
 */
export async function revokeGateway(access: PlantAccess, { gateway, retainMs }: { readonly gateway: string; readonly retainMs: number }) {
  using plant = await openPlant(access);
  const { nowMs } = access;
  const known = gatewayInService(plant.document, gateway);
  const credentials = known.credentials.map((each) => ({ ...each, state: "revoked" as const, untilMs: null }));
  const document = withGateway(plant.document, { ...known, credentials });
  const keystore = retireKeys(plant.keystore, (key) => key.gateway === gateway, { retainMs, nowMs });
  // Nothing more is taken under its keys.
  const keys = document.keys.map((key) => (key.gateway === gateway ? { ...key, acceptedUntilMs: nowMs } : key));
  const { register } = await commit(plant, {
    document: { ...document, keys },
    ...(plant.keystore.keys.some((key) => key.gateway === gateway) && { keystore }),
    notes: [["gateway-revoked", { gateway, credentials: credentials.length }]],
  });
  return { gateway, serial: register.serial };
}

/** @throws {PipelineError} CONFIG_INVALID for a gateway that is unknown or revoked */
export function gatewayInService({ plant, gateways }: PlantDocument, gateway: string): GatewayEntry {
  const found = gateways.find((each) => each.gateway === gateway);
  if (found !== undefined && isInService(found)) return found;
  const what = found === undefined ? `plant ${plant} has no gateway ${JSON.stringify(gateway)}` : `gateway ${gateway} was revoked`;
  throw new PipelineError("CONFIG_INVALID", what, { gateway });
}

export function withGateway(document: PlantDocument, entry: GatewayEntry): PlantDocument {
  return { ...document, gateways: document.gateways.map((each) => (each.gateway === entry.gateway ? entry : each)) };
}

/**
 * Writes what a gateway encrypts with: the plant's public key, or its own secret one.
 * @param epochs of these epochs; default: the active keys
 */
export function writeKeyFile(
  folder: string,
  keystore: Keystore,
  gateway: string,
  keyMode: "public" | "symmetric",
  epochs?: readonly number[],
) {
  mkdirSync(folder, { recursive: true, mode: 0o700 }); // it may have been moved to the gateway, not copied
  const path = join(folder, keyFile(keyMode));
  if (keyMode === "public") writeJsonFile(path, publicKeys(keystore, epochs).find((key) => key.gateway === null)!);
  else
    writeJsonFile(
      path,
      gatewayKeys(keystore, epochs).find((key) => key.gateway === gateway),
      0o600,
    );
}

/** The service counts so many signing keys of a gateway at one time, and no older ones: what those sign would be lost. */
function checkRoom(credentials: GatewayEntry["credentials"], gateway: string, nowMs: number): void {
  const counting = credentials.filter(({ state, untilMs }) => state === "active" || (state === "retiring" && untilMs! > nowMs));
  if (counting.length < MOST_SIGNERS) return;
  const ends = new Date(Math.min(...counting.flatMap(({ untilMs }) => untilMs ?? []))).toISOString();
  const what = `gateway ${gateway} has ${counting.length} signing keys that count; another one can follow after ${ends}, when the first ends`;
  throw new PipelineError("CONFIG_INVALID", what, { gateway });
}

async function newCredential(plant: OpenPlant, gateway: string, folder: string, issue: IssueOptions) {
  const signing = newSigningKey(`gateway ${gateway} of plant ${plant.document.plant}`);
  writeJsonFile(credentialPaths(folder).signingKey, signing, 0o600);
  const issued = await issueCredential(plant, { role: "gateway", name: gateway }, folder, { ...issue, nowMs: plant.access.nowMs });
  const { certificateHash, certificateEndsMs, request, notes } = issued;
  return {
    entry: { signingKey: signing.publicKey, certificateHash, certificateEndsMs, untilMs: null },
    request,
    notes: [["key-made", { what: "signing key", gateway, signingKey: signing.publicKey }] as const, ...notes],
  };
}

/** The keystore with the gateway's key of symmetric mode; one that an attempt before this one made is taken. */
async function withGatewayKey({ keystore, deployment, access }: OpenPlant, gateway: string): Promise<Keystore> {
  if (deployment.keyMode === "public" || keystore.keys.some((key) => key.gateway === gateway && key.state === "active")) return keystore;
  return await addGatewayKey(keystore, paramsFromDocument(deployment.params), gateway, access.nowMs);
}

/** Behind every lane that was ever leased. */
export function nextLane({ gateways }: Pick<PlantDocument, "gateways">): number {
  return Math.max(0, ...gateways.map((entry) => entry.firstLane + leasedLanes(entry)));
}

/** The first lane of the next ciphertext of so many lanes: a job fills each of its own alone. */
export const wholeCiphertext = (lane: number, lanes: number) => Math.ceil(lane / lanes) * lanes;

function checkNew({ gateways }: PlantDocument, gateway: string, machines: readonly string[] | "records"): void {
  const refuse = (what: string) => {
    throw new PipelineError("CONFIG_INVALID", what, { gateway });
  };
  if (!NAME.test(gateway)) refuse(`gateway ${JSON.stringify(gateway)}: a name has 1 to 64 letters, digits, dots, dashes or underscores`);
  if (gateways.some((each) => each.gateway === gateway)) refuse(`gateway ${gateway} was added already; a name is not given twice`);
  if (machines === "records") return;
  if (machines.length === 0 || machines.some((machine) => machine.trim() === "")) refuse("a gateway needs the names of its machines");
  const owners = new Map(gateways.filter(isInService).flatMap((each) => each.machines.map((machine) => [machine, each.gateway])));
  for (const machine of machines) {
    const owner = owners.get(machine);
    if (owner !== undefined) refuse(owner === gateway ? `machine ${machine} is named twice` : `machine ${machine} is gateway ${owner}'s`);
    owners.set(machine, gateway);
  }
}
