import manifest from "../package.json" with { type: "json" };

/** Version of the code, as model cards record it. */
export const codeVersion: string = manifest.version;
