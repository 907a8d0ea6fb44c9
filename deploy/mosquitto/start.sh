#!/bin/sh
# Writes the password file from the environment, then becomes the broker. Newer brokers refuse such files when others
# can read them, which a file from the checkout always is: hence the copy of the rules.
set -eu
umask 077
: > /mosquitto/data/passwords
mosquitto_passwd -b /mosquitto/data/passwords hanhtrinh "$MQTT_PASSWORD"
mosquitto_passwd -b /mosquitto/data/passwords tracker "$MQTT_TRACKER_PASSWORD"
cp /mosquitto/config/acl /mosquitto/data/acl
chown mosquitto:mosquitto /mosquitto/data/passwords /mosquitto/data/acl
exec mosquitto -c /mosquitto/config/mosquitto.conf
