import { constants, setPriority } from "node:os";

/**
 * Lets others on this computer go first: for work that may take minutes, beside work that may not wait for milliseconds. On Linux for the
 * thread that calls and those that it starts afterwards (setpriority(2)), so it is called first of all.
 */
export function giveWay(): void {
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
}
