#!/usr/bin/env node
import { runServiceCommand } from "@smile/runtime/service-command";
import { plantConsoleCommand } from "./command.ts";

process.exit(await runServiceCommand(plantConsoleCommand, process.argv.slice(2), process.env));
