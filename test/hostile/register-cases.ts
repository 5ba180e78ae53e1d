import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type PlantRegister, signRegister } from "@smile/schemas/plant-register";
import type { Dice } from "../fuzz/mutate.ts";
import { randomBytes, withFlips } from "./case.ts";
import { growthBy, growthOf, sum } from "./figures.ts";
import type { World } from "./world.ts";

const REFUSED = "smile_plant_registers_refused_total";
const TAKEN = "smile_plant_registers_taken_total";
type Dropped = { readonly refused: Readonly<Record<string, number>>; readonly taken: number };

/** Services look every second. */
const PATIENCE_MS = 15_000;

/** One of many hostile register files for the first plant, as whoever can write where registers are dropped would leave it: each in its turn. */
export function registerCase(world: World, turn: number, dice: Dice): string | Uint8Array {
  const [north, south] = world.parties;
  const { register, registration, identity } = north;
  const unique = dice(1e9);
  const json = (value: unknown) => JSON.stringify(value);
  const resigned = (changes: object) => signRegister({ ...registration, issuedAtMs: unique, ...changes }, identity);
  const stranger = { ...registration, serial: 99, issuedAtMs: unique, gateways: [] };
  const makers: readonly (() => string | Uint8Array)[] = [
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
  ];
  return makers[turn % makers.length]!();
}

/**
 * Leaves content in the place of the first plant's register at one of the services, until the service has looked at it.
 * @returns refusals by code, and how many were taken
 */
export async function dropRegister({ watchedRegisters }: World, turn: number, content: string | Uint8Array): Promise<Dropped> {
  const { service, path } = watchedRegisters[turn % watchedRegisters.length]!;
  const good = readFileSync(path);
  const before = await service.figures();
  writeFileSync(path, content);
  try {
    for (const untilMs = performance.now() + PATIENCE_MS; performance.now() < untilMs; await delay(100)) {
      const after = await service.figures();
      const refused = growthBy("code", REFUSED, before, after);
      const taken = growthOf(TAKEN, before, after);
      if (sum(refused) + taken > 0) return { refused, taken };
    }
    return { refused: {}, taken: 0 };
  } finally {
    writeFileSync(path, good);
  }
}

/** The same with many, one after the other. */
export async function dropRegisters(world: World, count: number, dice: Dice): Promise<Dropped> {
  const refused: Record<string, number> = {};
  let taken = 0;
  for (let turn = 0; turn < count; turn++) {
    const dropped = await dropRegister(world, turn, registerCase(world, turn, dice));
    taken += dropped.taken;
    for (const [code, n] of Object.entries(dropped.refused)) refused[code] = (refused[code] ?? 0) + n;
  }
  return { refused, taken };
}
