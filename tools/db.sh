# shellcheck shell=bash
# Where the corpora are. Source this file; the environment overrides it, e.g.
#   LIBRISPEECH=/corpora/librispeech egs2/librispeech/asr1/run.sh
# Empty: not there. The embedded mini corpora (egs2/*/asr1/downloads) need none of them.

# LibriSpeech (CC BY 4.0), any folder above its speakers; it must hold dev-clean, and all
# else that it holds is trained on, but for test-* and dev-other:
# https://www.openslr.org/12
: "${LIBRISPEECH:=}"

# SNIPS, 2017-06-custom-intent-engines (CC0):
# https://github.com/sonos/nlu-benchmark
: "${SNIPS:=}"

# Schema-Guided Dialogue, the folder that holds train, dev and test (CC BY-SA 4.0):
# https://github.com/google-research-datasets/dstc8-schema-guided-dialogue
: "${SGD:=}"

# SLURP text (CC BY 4.0): https://github.com/pswietojanski/slurp
: "${SLURP:=}"

# SLURP audio, the folder that holds slurp_real (CC BY-NC 4.0):
# https://zenodo.org/record/4274930
: "${SLURP_AUDIO:=}"

# Picovoice speech-to-intent benchmark, coffee orders (Apache-2.0):
# https://github.com/Picovoice/speech-to-intent-benchmark
: "${SPEECH_TO_INTENT:=}"

# WordNet's data files, whose usage examples are general-domain text (free licence):
# https://wordnet.princeton.edu, or Debian's package wordnet-base
: "${WORDNET=$([ ! -e /usr/share/wordnet/data.noun ] || echo /usr/share/wordnet)}"

export WORDNET LIBRISPEECH SNIPS SGD SLURP SLURP_AUDIO SPEECH_TO_INTENT
