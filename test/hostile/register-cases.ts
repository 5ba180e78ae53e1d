import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type PlantRegister, signRegister } from "@smile/schemas/plant-register";
import type { Dice } from "../fuzz/mutate.ts";
import { pick, randomBytes, withFlips } from "./case.ts";
import { growthBy, sum } from "./figures.ts";
import type { World } from "./world.ts";

const REFUSED = "smile_plant_registers_refused_total";
const TAKEN = "smile_plant_registers_taken_total";
/** Services look every second. */
const PATIENCE_MS = 15_000;

/** A hostile register file for the first plant, as whoever can write where registers are dropped would leave it. */
export function registerCase(world: World, dice: Dice): string | Uint8Array {
  const [north, south] = world.parties;
  const { register, registration, identity } = north;
  const unique = dice(1e9);
  const json = (value: unknown) => JSON.stringify(value);
  const resigned = (changes: object) => signRegister({ ...registration, issuedAtMs: unique, ...changes }, identity);
  const stranger = { ...registration, serial: 99, issuedAtMs: unique, gateways: [] };
  return pick<() => string | Uint8Array>(
    [
      () => `{"kind": "plant-register", ${unique}`,
      () => randomBytes(500 + dice(500), dice),
      () => " ".repeat(1 + dice(5000)),
      () => withFlips(Buffer.from(json({ ...register, serial: 99 })), dice),
      () => json({ ...register, serial: 100 + unique }),
      () => json({ ...register, serial: 99, signature: Buffer.from(randomBytes(64, dice)).toString("base64") }),
      () => json(resigned({ serial: 1 + dice(6) })),
      () => json(resigned({ serial: registration.serial })),
      () => json(signRegister({ ...south.registration, serial: 99, issuedAtMs: unique }, south.identity)),
      () => json(signRegister(stranger, south.identity)),
      () => json({ ...signRegister(stranger, south.identity), identity: register.identity }),
      () => json(resigned({ serial: 99, plant: south.plant })),
      () => json({ ...resigned({ serial: 99 }), extra: unique }),
      () => json({ ...(resigned({ serial: 99 }) satisfies PlantRegister), keys: [] }),
      () => `${"[".repeat(200_000)}${unique}`,
      () => `{"kind":"plant-register","serial":${unique},"gateways":[${'{"gateway":"g"},'.repeat(50_000)}{}]}`,
    ],
    dice,
  )();
}

/**
 * Drops hostile registers in the place of the first plant's, one after the other, each until its service has looked at it; then puts the
 * good one back.
 * @returns refusals by code, and how many were taken
 */
export async function dropRegisters(world: World, count: number, dice: Dice): Promise<{ refused: Record<string, number>; taken: number }> {
  const refused: Record<string, number> = {};
  let taken = 0;
  for (let i = 0; i < count; i++) {
    const { service, path } = world.watchedRegisters[i % world.watchedRegisters.length]!;
    const good = readFileSync(path);
    const before = await service.figures();
    writeFileSync(path, registerCase(world, dice));
    for (const untilMs = performance.now() + PATIENCE_MS; performance.now() < untilMs; await delay(100)) {
      const after = await service.figures();
      const codes = growthBy("code", REFUSED, before, after);
      const took = (after.get(TAKEN) ?? 0) - (before.get(TAKEN) ?? 0);
      if (sum(codes) + took === 0) continue;
      taken += took;
      for (const [code, n] of Object.entries(codes)) refused[code] = (refused[code] ?? 0) + n;
      break;
    }
    writeFileSync(path, good);
  }
  return { refused, taken };
}
