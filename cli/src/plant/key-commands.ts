import { join } from "node:path";
import { activateKeys, destroyExpiredKeys, rotateKeys } from "@smile/custody/plant/key-rotation";
import type { Command } from "commander";
import { accessOf, daysToMs, type PlantOptions, plantOptions, plantSubcommand } from "./plant-options.ts";
import { report } from "./report.ts";

/** Commands on HE keys: made, handed out, destroyed. */
export function keyCommands(signal: AbortSignal): Command[] {
  return [
    plantSubcommand(
      "rotate-keys",
      "Make a new epoch of HE keys and register it; gateways get it with activate-keys",
      "rotate-keys --plant-folder north",
    ).action(async (options: PlantOptions) => {
      const rotated = await rotateKeys(await accessOf(options, signal));
      const next = `give ${join(options.plantFolder, "register.json")} to the service, which takes it while it runs; once it has, \`smile plant activate-keys\``;
      report(options.json, rotated, [`key epoch ${rotated.keyEpoch} is made and registered`], next);
    }),

    plantSubcommand(
      "activate-keys",
      "Hand the new keys to the gateways' folders, once the service has taken the register; the old ones retire",
      "activate-keys --plant-folder north",
    )
      .addOption(
        plantOptions.retainDays(
          "how long old keys open scores; the service takes windows under them for half of it, which must be longer than a gateway may be offline",
        ),
      )
      .action(async (options: PlantOptions & { retainDays: number }) => {
        const activated = await activateKeys(await accessOf(options, signal), { retainMs: daysToMs(options.retainDays) });
        const next = `give ${join(options.plantFolder, "register.json")} to the service, and each gateway the key file of its folder; after ${options.retainDays} days \`smile plant destroy-keys\``;
        report(options.json, activated, [`key epoch ${activated.keyEpoch} is active`], next);
      }),

    plantSubcommand(
      "destroy-keys",
      "Destroy keys whose retention has ended: what was encrypted under them cannot be read any more",
      "destroy-keys --plant-folder north",
    ).action(async (options: PlantOptions) => {
      const { destroyed, serial } = await destroyExpiredKeys(await accessOf(options, signal));
      const lines =
        destroyed.length === 0
          ? ["no key's retention has ended"]
          : destroyed.map(({ keyEpoch, keyId }) => `key ${keyId} of epoch ${keyEpoch} is destroyed`);
      const next = `give ${join(options.plantFolder, "register.json")} to the service; destroy copies of keystore.json that you made`;
      report(options.json, { destroyed, serial }, lines, destroyed.length === 0 ? undefined : next);
    }),
  ];
}
