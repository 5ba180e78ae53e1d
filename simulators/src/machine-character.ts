import { logNormal, type RandomStream, uniform } from "./random-stream.ts";

export const MACHINE_KINDS = ["pump", "fan", "compressor"] as const;
export type MachineKind = (typeof MACHINE_KINDS)[number];

/** What makes one machine differ from the next for as long as it stands there: its type, its foundation, its sensors' calibration. */
export type MachineCharacter = {
  readonly kind: MachineKind;
  /** Speed at no load; for fans, which a converter drives, at full load. */
  readonly ratedSpeedRpm: number;
  readonly ratedPowerKw: number;
  readonly ratedPressureBar: number;
  /** Healthy vibration at rated load; ISO 20816-3 calls less than 1.4 to 2.3 mm/s good. */
  readonly vibrationRms: number;
  /** Healthy ratio of peak to rms; sqrt(2) for a pure sine, about 3 for a healthy rolling bearing. */
  readonly crest: number;
  /** Rise of the bearing over the ambient at rated load, healthy. */
  readonly temperatureRise: number;
  readonly soundLevelDb: number;
  /** The hall's mean temperature where the machine stands. */
  readonly ambientMeanC: number;
  /** How fast it wears compared with the others: quality of alignment, lubrication, foundation. */
  readonly wearFactor: number;
};

/** Values at rated load, typical of small industrial machines on 400 V four-pole and two-pole motors. */
const typical = {
  pump: { speed: 2960, power: 30, pressure: 6, sound: 78, rise: 30 },
  fan: { speed: 1480, power: 22, pressure: 1.15, sound: 80, rise: 26 },
  compressor: { speed: 2970, power: 45, pressure: 8, sound: 83, rise: 36 },
} as const satisfies Record<MachineKind, object>;

export function drawCharacter(kind: MachineKind, random: RandomStream): MachineCharacter {
  const { speed, power, pressure, sound, rise } = typical[kind];
  return {
    kind,
    ratedSpeedRpm: speed * logNormal(random, 0.004),
    ratedPowerKw: power * logNormal(random, 0.06),
    ratedPressureBar: pressure * logNormal(random, 0.04),
    vibrationRms: 1.3 * logNormal(random, 0.09),
    crest: 3 * logNormal(random, 0.06),
    temperatureRise: rise * logNormal(random, 0.07),
    soundLevelDb: sound + uniform(random, -2, 2),
    ambientMeanC: uniform(random, 19, 25),
    wearFactor: logNormal(random, 0.09),
  };
}
