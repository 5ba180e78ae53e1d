import { registerHooks } from "node:module";

/**
 * Breaks a module of a service on purpose, as it is loaded: for a process that was started with `--import`. A service that was broken so
 * must be found by the harness.
 * @param path how the module's path ends
 * @throws {Error} when the text is not there any more: then the mutant has to be brought up to date
 */
export function rewrite(path: string, text: string, by: string): void {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.endsWith(path)) return loaded;
      const source = Buffer.from(loaded.source as Uint8Array).toString();
      if (!source.includes(text)) throw new Error(`${path} does not hold ${JSON.stringify(text)}`);
      return { ...loaded, source: source.replace(text, by) };
    },
  });
}
