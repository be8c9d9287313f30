#!/usr/bin/env bash
# Data preparation of the coffee orders (Picovoice speech-to-intent); run from the
# repository root. They have slot values but no transcripts: they score entities only.
#   egs2/barista/asr1/local/data.sh [options of spft.bin.prepare_data]
set -euo pipefail

# shellcheck source=tools/db.sh
. tools/db.sh
exec python -m spft.bin.prepare_data speech_to_intent --domain barista \
    --names egs2/barista/asr1/downloads/names.txt "$@"
