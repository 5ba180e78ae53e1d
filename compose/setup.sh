#!/bin/sh
# Trains the demo's model and makes the plant's keys, once. The head goes to the model service alone, the keystore to the plant alone.
set -eu
if [ ! -s /public/deployment.json ]; then
  smile train --out /tmp/model
  mv /tmp/model/head.json /model/head.json
  mv /tmp/model/deployment.json /public/deployment.json
fi
if [ ! -s /plant/keystore.json ]; then
  smile keys --deployment /public/deployment.json --plant demo --out /plant
  cp /plant/public-key.json /public/public-key.json
fi
# The services run as this user.
chown -R node:node /public /model /plant
