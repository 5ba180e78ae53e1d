import { passphraseFrom } from "@smile/custody/passphrase";
import { PipelineError } from "@smile/errors/pipeline-error";
import { type AuditLog, openAuditLog, silentAudit } from "@smile/runtime/audit-log";
import type { Environment } from "@smile/runtime/config";
import { openLog } from "@smile/runtime/log-config";
import type { Logger } from "@smile/runtime/logging";
import { type FilePlantRegistry, openPlantRegistry } from "@smile/runtime/plant-registry";
import { type TlsSource, watchTlsFiles } from "@smile/runtime/tls-files";
import type { AnyDeployment } from "@smile/schemas/record-documents";
import type { WorkKind } from "@smile/schemas/topics";
import type { ConsoleSources } from "./console-sources.ts";
import { KeystoreKeys } from "./keystore-keys.ts";
import { logScoreLink } from "./log-score-link.ts";
import { mqttScoreLink, type OpenScoreLink } from "./score-link.ts";
import { ServiceFile } from "./service-file.ts";
import type { Trust } from "./verification.ts";

/** What a console is started in. */
export type Surroundings = {
  readonly logger: Logger;
  readonly env: Environment;
  /** Between two looks at the files that may change; default 1 s. */
  readonly pollMs?: number;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: () => number;
};

/** What stands behind a console, opened from its files and read again when they change, until it is disposed of. */
export interface ConsoleFiles extends AsyncDisposable {
  readonly audit: AuditLog;
  readonly registry: FilePlantRegistry;
  readonly keys: KeystoreKeys;
  readonly openLink: OpenScoreLink;
  trust(): Trust;
  /** Looks at all files at once. */
  reread(): Promise<void>;
}

/** TLS files change before they have to, and are read to be looked at: once in so many looks at the others. */
const TLS_LOOKS = 5;

/**
 * Opens register, service document, keystore, TLS files and audit log.
 * @param deployment whose parameters the keys must fit
 * @param kind which work's deliveries come over the link
 * @param actor in every entry of the audit log
 * @throws {PipelineError} naming the file or field that is wrong; CONFIG_INVALID when the keystore or register is another plant's
 */
export async function openConsoleFiles(
  sources: ConsoleSources,
  { deployment, kind, actor }: { deployment: AnyDeployment; kind: WorkKind; actor: string },
  { logger, env, pollMs = 1000, now }: Surroundings,
): Promise<ConsoleFiles> {
  const { plant, register, identity, folder } = sources;
  await using opened = new AsyncDisposableStack();
  const audit =
    sources.audit === undefined ? silentAudit : opened.use(openAuditLog({ path: sources.audit, actor, ...(now && { clock: now }) }));
  const registry = opened.use(openPlantRegistry({ plants: [{ register, identity }], folder, logger, audit, pollMs }));
  if (registry.find(plant) === undefined)
    throw new PipelineError("CONFIG_INVALID", `register: ${register} is plant ${registry.plants[0]!.plant}'s, not ${plant}'s`);
  const service = new ServiceFile({ path: sources.service, logger, audit });
  // A variable that names a file means the folder where the program was started, as for `smile plant`, and wins as all of them do.
  const passphrase = () => passphraseFrom({ env, file: env.SMILE_PASSPHRASE_FILE ? undefined : sources.passphraseFile });
  const keys = opened.use(
    await KeystoreKeys.open({ path: sources.keystore, plant, deployment, passphrase, logger, audit, ...(now && { now }) }),
  );
  const openLink = await openLinkOf(sources, { service, kind, logger, env, pollMs, opened });
  const reread = async () => {
    registry.refresh(plant);
    service.refresh();
    await keys.refresh();
  };
  const looking = setInterval(() => void reread(), pollMs).unref();
  opened.defer(() => clearInterval(looking));
  const owned = opened.move();
  return {
    ...{ audit, registry, keys, openLink, reread },
    trust: () => ({ plant: registry.find(plant)!, scoreSigners: service.scoreSigners }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function openLinkOf(
  sources: ConsoleSources,
  by: { service: ServiceFile; kind: WorkKind; logger: Logger; env: Environment; pollMs: number; opened: AsyncDisposableStack },
): Promise<OpenScoreLink> {
  const { plant, mqtt, tls: settings, withoutTls, folder } = sources;
  const { service, kind, logger, env, pollMs, opened } = by;
  if (mqtt === undefined) {
    const log = opened.use(await openLog(sources.log!, folder, `${plant}-console`, logger, env));
    return logScoreLink({ log, plant, logger, kind });
  }
  const tls = settings && withAuthorityOf(service, opened.use(watchTlsFiles({ settings, folder, logger, everyMs: TLS_LOOKS * pollMs })));
  return mqttScoreLink({ ...mqtt, plant, logger, tls, withoutTls, kind });
}

/** The brokers' authority is in the service document, unless the configuration names another. */
function withAuthorityOf(service: ServiceFile, files: TlsSource): TlsSource {
  return {
    get current() {
      const { certificateAuthority } = service.document;
      return certificateAuthority === null ? files.current : { authority: certificateAuthority, ...files.current };
    },
    onChange(listener) {
      files.onChange(listener);
      service.onChange(listener);
    },
  };
}
