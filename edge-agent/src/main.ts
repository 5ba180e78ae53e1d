import { runServiceCommand } from "@smile/runtime/service-command";
import { edgeAgentCommand } from "./command.ts";

process.exit(await runServiceCommand(edgeAgentCommand, process.argv.slice(2), process.env));
