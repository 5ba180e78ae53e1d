import { PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "@smile/runtime/logging";
import { certificatesOf } from "@smile/runtime/tls-certificates";
import type { TlsSettings } from "@smile/runtime/tls-config";
import { type TlsSource, watchTlsFiles } from "@smile/runtime/tls-files";

/** What the gateway shows the broker and whom it believes to be it; renewed files take effect while the agent runs. */
export interface BrokerTls extends TlsSource, Disposable {
  /** End of the gateway's own certificate, milliseconds since 1970. */
  readonly endsMs: number;
  /** How often renewed files were taken. */
  readonly renewals: number;
  /** Looks at the files now instead of at the next second. */
  reread(): void;
}

/**
 * @param options.authority PEM that the service's document names; the settings' own goes before it
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, CONFIG_INVALID, CERTIFICATE_INVALID; DOCUMENT_INVALID for the service's authority
 */
export function openBrokerTls(options: {
  readonly settings: TlsSettings;
  readonly folder: string;
  readonly authority: string | null;
  readonly logger: Logger;
}): BrokerTls {
  const { settings, folder, authority, logger } = options;
  if (authority !== null) checkAuthority(authority);
  const files = watchTlsFiles({ settings, folder, logger, everyMs: 1000 });
  let renewals = 0;
  files.onChange(() => {
    renewals++;
  });
  return {
    get current() {
      const { current } = files;
      return current.authority !== undefined || authority === null ? current : { ...current, authority };
    },
    get endsMs() {
      return certificatesOf(files.current.certificate)[0]!.validToDate.getTime();
    },
    get renewals() {
      return renewals;
    },
    onChange: (listener) => files.onChange(listener),
    reread: () => files.reread(),
    [Symbol.dispose]: () => files[Symbol.dispose](),
  };
}

function checkAuthority(pem: string): void {
  try {
    if (certificatesOf(pem).length > 0) return;
  } catch {
    // Told below.
  }
  throw new PipelineError("DOCUMENT_INVALID", "service: certificateAuthority holds no certificate in PEM form", {
    field: "certificateAuthority",
  });
}
