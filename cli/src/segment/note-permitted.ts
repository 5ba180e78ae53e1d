import type { PermittedColumn } from "@smile/features/records/check-mapping";
import { openAuditLog } from "@smile/runtime/audit-log";
import type { SegmentModel } from "./model-folder.ts";

/**
 * Writes into an audit log which sensitive columns a model was allowed to see, and why.
 * @param path undefined: nowhere
 * @throws {PipelineError} STORE_UNAVAILABLE, FILE_DAMAGED
 */
export function notePermitted(path: string | undefined, { deployment }: SegmentModel, permitted: readonly PermittedColumn[]): void {
  if (path === undefined) return;
  using audit = openAuditLog({ path, actor: "smile segment" });
  const { headId, featureSetId } = deployment.cards[0]!;
  for (const { column, kind, reason } of permitted) audit.append("column-permitted", { headId, featureSetId, column, kind, reason });
}
