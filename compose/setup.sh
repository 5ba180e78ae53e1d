#!/bin/sh
# Trains the demo's model, makes the operator's service and the plant with its gateways, each once, and hands over what each party gets: run
# again after a change of the plant, it hands over the change. $1 is in front of every folder: empty in the container, and for a test its own.
set -eu
umask 077
root=${1:-}
export SMILE_PASSPHRASE_FILE="$root/passphrase/passphrase"

if [ ! -s "$root/model/head.json" ]; then
  smile train --out "$root/model/made"
  mv "$root/model/made/deployment.json" "$root/model/deployment.json"
  mv "$root/model/made/head.json" "$root/model/head.json"
  rm -r "$root/model/made"
fi
if [ ! -s "$root/operator/service.json" ]; then
  smile service init --out "$root/operator" --name demo --host stream-processor localhost 127.0.0.1
fi
if [ ! -s "$root/plant/plant.json" ]; then
  smile plant init --plant demo --deployment "$root/model/deployment.json" --service "$root/operator/service.json" --out "$root/plant"
fi
gateway() {
  name=$1
  shift
  if ! grep -q "\"gateway\": \"$name\"" "$root/plant/plant.json"; then
    smile plant add-gateway "$name" --machines "$@" --plant-folder "$root/plant"
  fi
}
gateway hall-1 pump-001 fan-002 compressor-003 pump-004
gateway hall-2 fan-005 compressor-006 pump-007 fan-008
# Only now: each change of the plant is in every gateway's folder.
for name in hall-1 hall-2; do
  cp -R "$root/plant/gateways/$name/." "$root/$name/"
done

# The operator's side. In earnest, the hash comes from the plant by another way than the register: here both are one person.
identity=$(smile plant status --plant-folder "$root/plant" | sed -n 's/^identity //p')
for service in stream-processor model-service; do
  sed "s/IDENTITY/$identity/" "$(dirname "$0")/config/$service.json" > "$root/$service/$service.json"
  cp "$root/model/deployment.json" "$root/$service/deployment.json"
  cp "$root/operator/$service"/* "$root/$service/"
  # Whole at once: a running service reads it.
  cp "$root/plant/register.json" "$root/$service/register.new"
  mv "$root/$service/register.new" "$root/$service/demo-register.json"
done
cp "$root/model/head.json" "$root/model-service/head.json"

# The services run as this user.
chown -R "${SMILE_USER:-node:node}" "$root/plant" "$root/stream-processor" "$root/model-service" "$root/hall-1" "$root/hall-2"
