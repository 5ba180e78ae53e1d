import type { MachineCharacter } from "./machine-character.ts";
import { exponential, gaussian, happens, logNormal, type RandomStream, uniform } from "./random-stream.ts";

/**
 * The hidden truth of one machine, step by step. Time constants count in steps: one step stands for about an hour of service,
 * whatever the clock between two rows says, so a demonstration may run a year in a minute.
 *
 * Wear w grows from near 0 to 1, where the bearing seizes:
 *   gradual  dw = c * load^2 * (0.35 + 1.3 w) * noise while running: damage grows the faster the larger it is (as in the crack growth
 *            law of Paris and Erdogan, 1963, here with exponent 1) and the higher the load (bearing life goes with about load^-3,
 *            ISO 281; 2 because only part of the bearing's load is hydraulic)
 *   shocks   a compound Poisson process, rarer and smaller than the gradual part: dirt, cavitation, a hard start
 * Some machines idle, all change their load, and the failed are replaced after a repair.
 */
export type MachineState = {
  /** Step of the fleet, from 0. */
  readonly step: number;
  /** 0 new, 1 failed; meaningless under repair. */
  readonly wear: number;
  /** Steps until a failed machine runs again; 0 while it lives. */
  readonly repairSteps: number;
  /** Number of failures so far: the life that is running, or has just ended. */
  readonly life: number;
  /** How fast this life wears compared with another of the same machine: the spread of bearings and of mounting. */
  readonly lifeFactor: number;
  /** Share of the rated load, 0 when idle, at most about 1.15. */
  readonly load: number;
  /** The load that the process asks for. */
  readonly setpoint: number;
  readonly idleSteps: number;
  readonly ambientC: number;
  /** Of the bearing: it follows load, friction and ambient with a lag. */
  readonly bearingC: number;
  /** What the next step draws from. */
  readonly random: RandomStream;
};

/** Wear of a running step at rated load, before the factors: new machines live about 450 steps. */
const WEAR_PER_STEP = 0.0033;
const SHOCK_PROBABILITY = 0.012;
const SHOCK_WEAR = 0.014;
/** A machine that is taken over may be well worn: what is not known of a fleet when it gets its first sensors. */
const LARGEST_FIRST_WEAR = 0.4;
const LARGEST_NEW_WEAR = 0.05;
const MEAN_SETPOINT_STEPS = 30;
const IDLE_PROBABILITY = 1 / 80;
const MEAN_IDLE_STEPS = 5;
/** Share of the way to its final temperature that a bearing goes in one step. */
const THERMAL_RESPONSE = 0.35;
const AMBIENT_SWING_C = 5;

/** The machine at step 0, some way into its first life. */
export function firstState(character: MachineCharacter, stepsPerDay: number, source: RandomStream): MachineState {
  const random = source.clone();
  const setpoint = drawSetpoint(random);
  const ambientC = ambient(character, 0, stepsPerDay, 0);
  const state = {
    step: 0,
    wear: uniform(random, 0, LARGEST_FIRST_WEAR),
    repairSteps: 0,
    life: 0,
    lifeFactor: drawLifeFactor(random),
    load: setpoint,
    setpoint,
    idleSteps: 0,
    ambientC,
    random,
  };
  return { ...state, bearingC: finalTemperature(character, state) };
}

/**
 * The machine one step later. Pure: the state given stays as it is, and gives the same successor again.
 * A machine fails in the step in which its wear reaches 1: it then has `repairSteps` above 0.
 */
export function advance(state: MachineState, character: MachineCharacter, stepsPerDay: number): MachineState {
  const random = state.random.clone();
  const step = state.step + 1;
  const ambientC = ambient(character, step, stepsPerDay, gaussian(random));
  if (state.repairSteps > 0) return underRepair(state, step, ambientC, random);

  const { setpoint, idleSteps } = drawDuty(state, random);
  const load = idleSteps > 0 ? 0 : Math.max(0.25, setpoint + 0.04 * gaussian(random));
  const growth = WEAR_PER_STEP * character.wearFactor * state.lifeFactor * load ** 2 * (0.35 + 1.3 * state.wear) * logNormal(random, 0.3);
  const shock = load > 0 && happens(random, SHOCK_PROBABILITY) ? exponential(random, SHOCK_WEAR) : 0;
  const wear = Math.min(1, state.wear + growth + shock);
  const next = { ...state, step, wear, load, setpoint, idleSteps, ambientC, random };
  if (wear >= 1) {
    return { ...next, life: state.life + 1, load: 0, repairSteps: Math.round(uniform(random, 6, 18)) };
  }
  return { ...next, bearingC: state.bearingC + THERMAL_RESPONSE * (finalTemperature(character, next) - state.bearingC) };
}

/** How fast the shaft turns compared with its rated speed: slip at a fixed frequency, or the fan's converter. */
export function speedRatio(kind: MachineCharacter["kind"], load: number): number {
  if (load === 0) return 0;
  return kind === "fan" ? 0.7 + 0.3 * load : 1.008 - 0.018 * load;
}

function underRepair(state: MachineState, step: number, ambientC: number, random: RandomStream): MachineState {
  const repairSteps = state.repairSteps - 1;
  const waiting = { ...state, step, repairSteps, ambientC, random, bearingC: ambientC };
  if (repairSteps > 0) return waiting;
  const setpoint = drawSetpoint(random);
  return {
    ...waiting,
    wear: uniform(random, 0, LARGEST_NEW_WEAR),
    lifeFactor: drawLifeFactor(random),
    load: setpoint,
    setpoint,
    idleSteps: 0,
  };
}

function drawDuty(state: MachineState, random: RandomStream): { setpoint: number; idleSteps: number } {
  if (state.idleSteps > 1) return { setpoint: state.setpoint, idleSteps: state.idleSteps - 1 };
  if (state.idleSteps === 0 && happens(random, IDLE_PROBABILITY)) {
    return { setpoint: state.setpoint, idleSteps: 1 + Math.floor(exponential(random, MEAN_IDLE_STEPS)) };
  }
  const changes = state.idleSteps === 1 || happens(random, 1 / MEAN_SETPOINT_STEPS);
  return { setpoint: changes ? drawSetpoint(random) : state.setpoint, idleSteps: 0 };
}

function drawSetpoint(random: RandomStream): number {
  return uniform(random, 0.55, 1.1);
}

function drawLifeFactor(random: RandomStream): number {
  return logNormal(random, 0.13);
}

/** The hall's temperature: a day's swing, coldest at the start of the day's cycle, and weather. */
function ambient(character: MachineCharacter, step: number, stepsPerDay: number, weather: number): number {
  return character.ambientMeanC - AMBIENT_SWING_C * Math.cos((2 * Math.PI * step) / stepsPerDay) + 0.4 * weather;
}

/** Where the bearing's temperature would settle: friction heat goes with load and speed, and damage adds to it. */
function finalTemperature(character: MachineCharacter, { load, wear, ambientC }: Omit<MachineState, "bearingC">): number {
  const ratio = speedRatio(character.kind, load);
  return ambientC + character.temperatureRise * ratio * (0.45 + 0.55 * load) * (1 + 0.55 * wear ** 2);
}
