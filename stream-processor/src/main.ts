import { runServiceCommand } from "@smile/runtime/service-command";
import { streamProcessorCommand } from "./command.ts";

process.exit(await runServiceCommand(streamProcessorCommand, process.argv.slice(2), process.env));
