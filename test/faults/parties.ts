import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { initService, renewService } from "@smile/cli/operator/service-folder";
import { activateCredential } from "@smile/custody/plant/client-credentials";
import { addGateway, renewGateway } from "@smile/custody/plant/gateways";
import { initPlant } from "@smile/custody/plant/init-plant";
import { activateKeys, rotateKeys } from "@smile/custody/plant/key-rotation";
import { certificateHash } from "@smile/identity/check-certificate";
import { readJsonFile, writeJsonFile } from "@smile/runtime/json-file";
import { readSigningKey, type SigningKeyFile } from "@smile/runtime/signing-key-file";
import type { TlsMaterial } from "@smile/runtime/tls-files";
import type { PlantRegister } from "@smile/schemas/plant-register";

const PASSPHRASE = "seven summer swans";
/** scrypt's least: a sealed file in 2 ms instead of 320. */
const COST = 2 ** 10;
const DAYS = 30;
const DAY_MS = 86_400_000;
const LOOK_MS = 50;

export type PartiesOptions = {
  /** Where both sides' folders go. */
  readonly folder: string;
  readonly plant: string;
  /** Path of the deployment document. */
  readonly deployment: string;
  readonly gateways: readonly { readonly gateway: string; readonly machines: readonly string[] }[];
  readonly framesUrl: string;
  readonly scoresUrl: string;
  readonly tls: boolean;
};

/** A renewed credential of a gateway, once it is in its place. */
export type Renewed = { readonly signingKey: string; readonly certificateHash: string | null };

/**
 * An operator and a plant, their folders made by what `smile service init`, `smile plant init` and `smile plant add-gateway` call; and
 * what their people do while the services run. Between the two, registers are carried from the plant's folder to the operator's.
 */
export class Parties {
  readonly #options: PartiesOptions;
  readonly #made: Awaited<ReturnType<typeof initService>>;
  /** Hash of the plant's identity, as the operator pins it. */
  readonly identity: string;
  /** Every pair of a client that there ever was, by its certificate's hash. */
  readonly #clients = new Map<string, TlsMaterial>();
  /** Paths of what each service of the operator's took last. */
  readonly #taken: string[] = [];
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: PartiesOptions, made: Awaited<ReturnType<typeof initService>>, identity: string) {
    this.#options = options;
    this.#made = made;
    this.identity = identity;
  }

  static async make(options: PartiesOptions): Promise<Parties> {
    const { folder, plant, deployment, gateways, tls, framesUrl, scoresUrl } = options;
    const made = await initService({
      folder: join(folder, "operator"),
      ...{ name: "faults", hosts: ["127.0.0.1", "localhost"], framesUrl, scoresUrl, tls, days: DAYS, nowMs: Date.now() },
    });
    const passphraseFile = join(folder, "passphrase");
    writeFileSync(passphraseFile, `${PASSPHRASE}\n`, { mode: 0o600 });
    const access = accessTo(options);
    const { identityHash } = await initPlant(access, { plant, deployment, service: made.paths.service, tls, passphraseFile, days: DAYS });
    for (const gateway of gateways) await addGateway(access, { ...gateway, days: DAYS });
    const parties = new Parties(options, made, identityHash);
    for (const each of [parties.console, ...gateways.map(({ gateway }) => parties.gateway(gateway))]) parties.#remember(each);
    parties.#handOver();
    return parties;
  }

  /** The plant's folder. */
  get folder(): string {
    return plantFolder(this.#options);
  }

  /** The console's folder. */
  get console(): string {
    return join(this.folder, "console");
  }

  /** A gateway's folder. */
  gateway(name: string): string {
    return join(this.folder, "gateways", name);
  }

  /** Path of the model service's signing key. */
  get scoreSigningKey(): string {
    return this.#made.paths.signingKey;
  }

  /** The section `tls` of the stream processor's endpoints; undefined without TLS. */
  get brokerTls(): { readonly certificate: string; readonly key: string } | undefined {
    const { certificate, key } = this.#made.paths;
    return this.#options.tls ? { certificate, key } : undefined;
  }

  /** PEM: what the brokers show, and what their certificate comes from; undefined without TLS. */
  get server(): Required<TlsMaterial> | undefined {
    const { certificate, key } = this.#made.paths;
    const authority = this.#made.service.certificateAuthority;
    if (!this.#options.tls || authority === null) return undefined;
    return { certificate: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8"), authority };
  }

  /** Section `plants` of a service of the operator's. Each keeps for itself what it took. */
  plantsOf(service: string): readonly object[] {
    const taken = join(this.#options.folder, "operator", `${service}.taken.json`);
    this.#taken.push(taken);
    return [{ register: this.#registerPath, identity: this.identity, taken }];
  }

  /** What a client showed and the key to it. @param hash of its certificate */
  clientOf(hash: string): TlsMaterial | undefined {
    return this.#clients.get(hash);
  }

  /** What a gateway shows now; undefined without TLS. */
  tlsOf(gateway: string): TlsMaterial | undefined {
    return this.#options.tls ? pairOf(this.gateway(gateway), this.server!.authority) : undefined;
  }

  /** What a gateway signs with now. */
  signingKeyOf(gateway: string): SigningKeyFile {
    return readSigningKey(join(this.gateway(gateway), "signing-key.json"));
  }

  /**
   * `smile plant renew-gateway`, its register to the operator, then, when every service has it, `smile plant activate-gateway`.
   * @throws {Error} when a service does not take the register within `patienceMs`
   */
  renewGateway(gateway: string, patienceMs: number): Promise<Renewed> {
    return this.#inTurn(async () => {
      const { folder, serial } = await renewGateway(accessTo(this.#options), { gateway, days: DAYS });
      this.#remember(folder);
      this.#handOver();
      await this.#taking(serial, patienceMs);
      await activateCredential(accessTo(this.#options), { client: { role: "gateway", name: gateway }, retainMs: DAY_MS });
      this.#handOver();
      const certificate = this.tlsOf(gateway)?.certificate;
      return {
        signingKey: this.signingKeyOf(gateway).publicKey,
        certificateHash: certificate === undefined ? null : certificateHash(certificate),
      };
    });
  }

  /**
   * `smile plant rotate-keys`, its register to the operator, then, when every service has it, `smile plant activate-keys`.
   * @param retainMs how long what is replaced still opens scores; default a day
   * @returns ids of the new keys: one for all gateways, or in symmetric mode one for each
   * @throws {Error} when a service does not take the register within `patienceMs`
   */
  rotateKeys(patienceMs: number, retainMs = DAY_MS): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const { keyIds, serial } = await rotateKeys(accessTo(this.#options));
      this.#handOver();
      await this.#taking(serial, patienceMs);
      await activateKeys(accessTo(this.#options), { retainMs });
      this.#handOver();
      return keyIds;
    });
  }

  /** `smile service renew` */
  renewServer(): Promise<Required<TlsMaterial>> {
    return this.#inTurn(async () => {
      await renewService({ folder: join(this.#options.folder, "operator"), days: DAYS, nowMs: Date.now() });
      return this.server!;
    });
  }

  /**
   * The register that the operator has is damaged while `work` is done: cut short, without a word of JSON, of another serial than was
   * signed, or gone over by an older one.
   */
  damagedRegister<T>(draw: number, work: () => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      const whole = readFileSync(this.#registerPath, "utf8");
      const forged = { ...(JSON.parse(whole) as PlantRegister), serial: 1_000_000 };
      const choices = [whole.slice(0, whole.length / 2), "", JSON.stringify(forged), readFileSync(this.#firstPath, "utf8")];
      try {
        // Not in one step: copied over the one that was there, as a careless person does.
        writeFileSync(this.#registerPath, choices[draw % choices.length]!);
        return await work();
      } finally {
        this.#handOver();
      }
    });
  }

  get #registerPath(): string {
    return join(this.#options.folder, "operator", `${this.#options.plant}.json`);
  }

  /** The first register that was handed over. */
  get #firstPath(): string {
    return `${this.#registerPath}.first`;
  }

  #handOver(): void {
    const register = readJsonFile(join(this.folder, "register.json"), "register");
    if (!existsSync(this.#firstPath)) writeJsonFile(this.#firstPath, register);
    writeJsonFile(this.#registerPath, register);
  }

  /** Resolves when every service has taken a register of that serial or a newer one. */
  async #taking(serial: number, patienceMs: number): Promise<void> {
    const has = (path: string) => existsSync(path) && (readJsonFile(path, "taken register") as PlantRegister).serial >= serial;
    for (const untilMs = performance.now() + patienceMs; !this.#taken.every(has); await delay(LOOK_MS)) {
      if (performance.now() > untilMs) throw new Error(`not every service took register ${serial} within ${patienceMs / 1000} s`);
    }
  }

  #remember(folder: string): void {
    if (!this.#options.tls) return;
    const pair = pairOf(folder, this.server!.authority);
    this.#clients.set(certificateHash(pair.certificate), pair);
  }

  /** One after the other, as `smile plant` asks for. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

function plantFolder({ folder }: PartiesOptions): string {
  return join(folder, "plant");
}

function accessTo(options: PartiesOptions) {
  return { folder: plantFolder(options), passphrase: PASSPHRASE, env: {}, nowMs: Date.now(), cost: COST };
}

function pairOf(folder: string, authority: string): Required<TlsMaterial> {
  const read = (file: string) => readFileSync(join(folder, file), "utf8");
  return { certificate: read("certificate.pem"), key: read("key.pem"), authority };
}
