import { Option } from "commander";

/** Of every command at the HR console. */
export const consoleConfig = () => new Option("--config <file>", "the console's configuration").default("segment-console.json");
