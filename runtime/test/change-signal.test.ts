import { expect, it } from "vitest";
import { ChangeSignal } from "../src/change-signal.ts";

const never = new AbortController().signal;
const long = 60_000;

it("does not wait when something changed between looking and waiting, here or in another process", async () => {
  let version = 1;
  const changes = new ChangeSignal(() => version, long);
  const beforeOthers = changes.now();
  version++;
  await changes.wait(beforeOthers, long, never);
  const beforeOwn = changes.now();
  changes.announce();
  await changes.wait(beforeOwn, long, never);
});

it("wakes everybody on a commit of this process, on one of another, after the time and on abort", async () => {
  let version = 1;
  const changes = new ChangeSignal(() => version, 1);
  const own = [changes.wait(changes.now(), long, never), changes.wait(changes.now(), long, never)];
  changes.announce();
  await Promise.all(own);
  const others = changes.wait(changes.now(), long, never);
  version++;
  await others;
  await changes.wait(changes.now(), 1, never);
  const stop = new AbortController();
  const aborted = changes.wait(changes.now(), long, stop.signal);
  stop.abort();
  await aborted;
  await changes.wait(changes.now(), long, stop.signal);
});

it("wakes readers, who then meet the error themselves, when the other processes' commits cannot be seen", async () => {
  let broken = false;
  const changes = new ChangeSignal(() => {
    if (broken) throw new Error("disk gone");
    return 1;
  }, 1);
  const waiting = changes.wait(changes.now(), long, never);
  broken = true;
  await waiting;
  expect(() => changes.now()).toThrow("disk gone");
});
