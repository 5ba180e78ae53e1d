import type { Log } from "@smile/runtime/log";
import type { ModelCard } from "@smile/schemas/documents";
import { frameCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import type { Journal } from "./journal.ts";

/** Names and values, as each side sees one window. */
export type View = readonly (readonly [name: string, value: string])[];
export type BothViews = { readonly operator: View; readonly plant: View };

/**
 * One window as the operator finds it in the log, and as the plant knows it.
 * @param example a window whose risk is stored, so its frame is in the log
 */
export async function bothViews(
  log: Log,
  { known, risk }: NonNullable<Journal["example"]>,
  card: Pick<ModelCard, "name" | "unit">,
): Promise<BothViews> {
  const { window, frameId, lane } = known;
  const frame = await findFrame(log, frameId.gateway, frameId.sequence);
  const hex = Buffer.from(frame.ciphertext.subarray(0, 15))
    .toString("hex")
    .replace(/(.{10})/g, "$1 ")
    .trim();
  return {
    operator: [
      ["plant, gateway", `${frame.plant}, ${frame.gateway}`],
      ["lane", `${lane} of block ${frame.block}`],
      ["window end", new Date(frame.frameTimeMs).toISOString()],
      ["machine", "unknown"],
      ["ciphertext", `${frame.ciphertext.length} bytes, all lanes`],
      ["", `${hex} ...`],
      ["score", "encrypted for the plant"],
    ],
    plant: [
      ["machine", window.machine],
      ["window end", new Date(window.endMs).toISOString()],
      ["features", `${window.features.slice(0, 8).join(" ")} ... (${window.features.length})`],
      ["integer score", String(risk.score)],
      [card.name, `${risk.risk.toPrecision(3)} (${card.unit})`],
    ],
  };
}

async function findFrame(log: Log, gateway: string, sequence: number) {
  const never = new AbortController().signal;
  for (const { partition, earliest, latest } of await log.ends(LOG_TOPICS.frames)) {
    for (let offset = earliest; offset < latest; ) {
      const records = await log.read(
        { topic: LOG_TOPICS.frames, partition, offset },
        { maxRecords: 64, maxBytes: 1 << 22, waitMs: 0 },
        never,
      );
      if (records.length === 0) break;
      for (const { value } of records) {
        const frame = frameCodec.decode(value);
        if (frame.gateway === gateway && frame.sequence === sequence) return frame;
      }
      offset = records.at(-1)!.offset + 1;
    }
  }
  throw new Error("a frame whose risk is stored is not in the log");
}
