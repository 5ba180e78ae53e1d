import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Measured } from "./process.ts";

/** Debian installs it where only root's PATH looks. */
const BINARY = "/usr/sbin/mosquitto";

/** A Mosquitto on this machine, configured as docs/operations.md asks for, without TLS. */
export async function startMosquitto(name: string, folder: string, port: number): Promise<Measured> {
  const home = join(folder, name);
  mkdirSync(home);
  const configuration = [
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    `user ${userInfo().username}`,
    "persistence true",
    `persistence_location ${home}/`,
    "set_tcp_nodelay true",
    "max_queued_messages 0",
    "max_queued_bytes 1073741824",
  ];
  writeFileSync(join(home, "mosquitto.conf"), `${configuration.join("\n")}\n`);
  const mosquitto = new Measured(name, BINARY, ["-c", join(home, "mosquitto.conf")], { cwd: home });
  while (!(await answers(port))) {
    if (!mosquitto.isRunning) throw new Error(`${name} ended:\n${mosquitto.lastLines()}`);
    await delay(20);
  }
  return mosquitto;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
  const answered = await promise;
  socket.destroy();
  return answered;
}
