import { Command } from "commander";
import { consoleCommands } from "./segment/console-commands.ts";
import { segmentRunCommand } from "./segment/run-command.ts";
import { sourceCommands } from "./segment/source-commands.ts";
import { segmentTrainCommand } from "./segment/train-command.ts";

/** `smile segment` */
export function segmentCommand(signal: AbortSignal): Command {
  const segment = new Command("segment").description("Find groups in records of people without showing the records to whoever computes");
  for (const command of [segmentTrainCommand(), segmentRunCommand(signal), ...sourceCommands(), ...consoleCommands(signal)]) {
    segment.addCommand(command);
  }
  return segment;
}
