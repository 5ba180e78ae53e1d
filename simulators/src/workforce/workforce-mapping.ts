import type { RecordMapping } from "@smile/features/records/record-spec";
import { categories, IDENTIFIER, orders, quantities, SENSITIVE } from "./workforce-columns.ts";
import { PLANTED_SEGMENT } from "./workforce-csv.ts";

/** The mapping for a simulated workforce: 48 features, no sensitive column. */
export const workforceMapping: RecordMapping = {
  name: "simulated workforce",
  columns: [
    ...quantities.map(({ column }) => ({ column, kind: "numeric" as const })),
    ...orders.map(({ column, values }) => ({ column, kind: "ordinal" as const, values })),
    ...Object.entries(categories).map(([column, values]) => ({ column, kind: "categorical" as const, values })),
  ],
  identifier: IDENTIFIER,
  ignored: [...SENSITIVE, PLANTED_SEGMENT],
  permissions: [],
};
