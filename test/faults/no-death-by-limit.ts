/**
 * Loaded into an edge agent's process where its full disk is a limit on the size of files: by default the system ends a process that goes
 * beyond it, and a full disk does not do that. With a handler the write fails instead.
 */
process.on("SIGXFSZ", () => {});
