import { appendFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { threadId } from "node:worker_threads";

/** Loaded before a service, in each of its threads: writes down every module that is loaded, as its URL. */
const file = `${process.env.RECORD_MODULES}-${process.pid}-${threadId}`;

registerHooks({
  load(url, context, next) {
    appendFileSync(file, `${url}\n`);
    return next(url, context);
  },
});
