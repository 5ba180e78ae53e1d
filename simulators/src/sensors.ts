import type { MachineCharacter } from "./machine-character.ts";
import { gaussian, happens, type RandomStream, uniform } from "./random-stream.ts";
import { type MachineState, speedRatio } from "./wear-process.ts";

/** The eight sensors of a machine: mm/s rms, mm/s peak, degC, A, rpm, bar, dB(A), kW. */
export const FLEET_SENSORS = [
  "vibrationRms",
  "vibrationPeak",
  "bearingTemperature",
  "motorCurrent",
  "shaftSpeed",
  "dischargePressure",
  "soundLevel",
  "power",
] as const;
export type FleetSensor = (typeof FLEET_SENSORS)[number];

/** Chance of one reading being a spike: electromagnetic interference, a loose plug, a passing fork-lift. */
const SPIKE_PROBABILITY = 0.002;
const LINE_VOLTAGE_KV = 0.4;

/** Deviation of one reading, as a share of its value where `relative`, else in its unit. */
const noise: Record<FleetSensor, { readonly relative: number; readonly absolute: number }> = {
  vibrationRms: { relative: 0.06, absolute: 0.04 },
  vibrationPeak: { relative: 0.1, absolute: 0.08 },
  bearingTemperature: { relative: 0, absolute: 0.6 },
  motorCurrent: { relative: 0.012, absolute: 0.2 },
  shaftSpeed: { relative: 0.0008, absolute: 1 },
  dischargePressure: { relative: 0.012, absolute: 0.01 },
  soundLevel: { relative: 0, absolute: 0.8 },
  power: { relative: 0.012, absolute: 0.1 },
};

/**
 * What the sensors read of a hidden state. Wear shows in several of them, but so do load, temperature and the machine's own
 * character: no sensor alone gives the state away.
 * @param random moves on by the same number of draws whatever the state
 */
export function readSensors(state: MachineState, character: MachineCharacter, random: RandomStream): Record<FleetSensor, number> {
  const ideal = idealReadings(state, character);
  const values = {} as Record<FleetSensor, number>;
  for (const sensor of FLEET_SENSORS) {
    const { relative, absolute } = noise[sensor];
    const noisy = ideal[sensor] * (1 + relative * gaussian(random)) + absolute * gaussian(random);
    const spike = uniform(random, 1.5, 3);
    const spiked = happens(random, SPIKE_PROBABILITY) ? noisy * spike + 10 * absolute : noisy;
    values[sensor] = sensor === "bearingTemperature" ? spiked : Math.max(0, spiked);
  }
  return values;
}

function idealReadings({ load, wear, bearingC }: MachineState, character: MachineCharacter): Record<FleetSensor, number> {
  const speed = speedRatio(character.kind, load);
  const running = load > 0;
  // Unbalance goes with the square of speed; damage adds energy, so amplitudes add as roots of squares would, nearly as 1 + w^2.
  const vibrationRms = character.vibrationRms * (0.05 + 0.95 * speed ** 2 * (0.75 + 0.25 * load)) * (running ? 1 + 2.8 * wear ** 2 : 1);
  // Impacts of a young defect raise the crest factor first; as damage spreads the rms catches up and the factor falls again.
  const crest = character.crest * (running ? 1 + 1.6 * wear * (1 - 0.6 * wear) : 1);
  const shaftPower = running ? character.ratedPowerKw * (0.3 + 0.7 * load) * (1 + 0.04 * wear ** 2) : 0;
  const power = shaftPower + 0.02 * character.ratedPowerKw; // control and auxiliaries go on drawing when idle
  const powerFactor = 0.55 + 0.33 * Math.min(1, load);
  return {
    vibrationRms,
    vibrationPeak: vibrationRms * crest,
    bearingTemperature: bearingC,
    motorCurrent: power / (Math.sqrt(3) * LINE_VOLTAGE_KV * powerFactor),
    shaftSpeed: character.ratedSpeedRpm * speed,
    // The characteristic curve falls with flow; worn seals and clearances leak a little back.
    dischargePressure: running ? character.ratedPressureBar * speed ** 2 * (1.12 - 0.12 * load ** 2) * (1 - 0.06 * wear ** 2) : 0,
    soundLevel: running
      ? character.soundLevelDb + 20 * Math.log10(speed) + 8 * Math.log10(0.5 + 0.5 * load) + 8 * Math.log10(1 + 1.5 * wear ** 2)
      : 55,
    power,
  };
}
