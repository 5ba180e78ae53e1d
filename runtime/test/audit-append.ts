// Run as child processes by audit-log.test.ts: appends to a file that others append to as well.

import { openAuditLog } from "../src/audit-log.ts";

const [path = "", actor = "", count = "0"] = process.argv.slice(2);
using audit = openAuditLog({ path, actor });
for (let i = 0; i < Number(count); i++) audit.append("key-used", { i });
