import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { dirname, join } from "node:path";

/**
 * An edge agent whose connection says which machine it is beside, as somebody may want to read in a broker's log: loaded before the agent, it
 * changes one line of it.
 */
const LINE = /clientId: `smile-edge-\$\{plant\}[^\n]*`,\n/;
const config = process.argv[process.argv.indexOf("--config") + 1]!;
const { machines } = JSON.parse(readFileSync(join(dirname(config), "lease.json"), "utf8")) as { machines: string[] };

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith("edge-agent/src/mqtt-frame-sender.ts")) return loaded;
    const source = Buffer.from(loaded.source as Uint8Array).toString();
    if (!LINE.test(source)) throw new Error(`the agent does not hold ${LINE} any more`);
    return { ...loaded, source: source.replace(LINE, `clientId: "${machines[0]}",\n`) };
  },
});
