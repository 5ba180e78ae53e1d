#!/bin/sh
# Makes each secret once, at random: no password is written anywhere else, and none is a default.
set -eu
umask 077
cd /secrets
for name in influxdb-password influxdb-token grafana-password; do
  [ -s "$name" ] || node -e 'process.stdout.write(require("node:crypto").randomBytes(32).toString("base64url"))' > "$name"
  # InfluxDB and Grafana run under users of their own.
  chmod 0444 "$name"
done
