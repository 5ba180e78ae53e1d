import { runServiceCommand } from "@smile/runtime/service-command";
import { modelServiceCommand } from "./command.ts";

process.exit(await runServiceCommand(modelServiceCommand, process.argv.slice(2), process.env));
