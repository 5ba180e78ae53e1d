#!/bin/sh
# Makes each secret once, at random: no password is written anywhere else, and none is a default. $1 is in front of every folder: empty in
# the container, and for a test its own.
set -eu
umask 077
root=${1:-}
secret() {
  [ -s "$1" ] && return
  node -e 'process.stdout.write(require("node:crypto").randomBytes(32).toString("base64url"))' > "$1.new"
  mv "$1.new" "$1"
}
for name in influxdb-password influxdb-token grafana-password; do
  secret "$root/secrets/$name"
  # InfluxDB and Grafana run under users of their own.
  chmod 0444 "$root/secrets/$name"
done
secret "$root/passphrase/passphrase"
chmod 0400 "$root/passphrase/passphrase"
chown "${SMILE_USER:-node:node}" "$root/passphrase" "$root/passphrase/passphrase"
