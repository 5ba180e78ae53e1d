import { Command } from "commander";
import { gatewayCommands } from "./plant/gateway-commands.ts";
import { initCommand } from "./plant/init-command.ts";
import { keyCommands } from "./plant/key-commands.ts";
import { registerCommands } from "./plant/register-commands.ts";

/** `smile plant` */
export function plantCommand(signal: AbortSignal): Command {
  const plant = new Command("plant").description("A plant's identity, gateways, certificates and keys: run by the plant, nobody else");
  for (const command of [initCommand(signal), ...gatewayCommands(signal), ...keyCommands(signal), ...registerCommands(signal)]) {
    plant.addCommand(command);
  }
  return plant;
}
