"""An utterance: what corpus readers make and data directories hold."""

from dataclasses import dataclass
from pathlib import Path

from spft.data.entities import Entity


@dataclass(frozen=True)
class Utterance:
    """One utterance of a corpus.

    Attributes:
        id: unique in its set; where there is audio it begins with the speaker.
        text: normalised transcript, or None where only entity values are known.
        speaker: None in text-only sets.
        audio: the audio file, None in text-only sets.
        entities: None where the corpus says nothing about entities.
        spoken: for a voice, where ``text`` would not do: abbreviations by letters.
    """

    id: str
    text: str | None
    speaker: str | None = None
    audio: Path | None = None
    entities: tuple[Entity, ...] | None = None
    spoken: str | None = None
