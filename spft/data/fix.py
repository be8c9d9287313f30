"""Mending a user's own data directory: order, spelling of the text, spk2utt."""

import re
from pathlib import Path

from spft.data.entities import Entity, read_entities
from spft.data.kaldi import same_keys, write_data_dir
from spft.data.normalize import normalize, spell_out
from spft.data.spans import locate
from spft.data.table import read_table
from spft.data.utterance import Utterance
from spft.errors import UserError


def fix_data_dir(directory: str | Path, *, audio: bool = True) -> None:
    """Sort, normalise ``text`` and ``entities``, and rebuild ``spk2utt``.

    What a human must decide stays an error: duplicates, missing lines and files, and
    spans outside their sentence.
    """
    directory = Path(directory)
    if not audio and (directory / "wav.scp").exists():
        raise UserError(f"{directory}: has audio, wav.scp; leave --no_audio out")
    text = None  # entities may stand in for it
    if (directory / "text").exists() or not (directory / "entities").exists():
        text = read_table(directory / "text", check_sorted=False)
    wavs = read_table(directory / "wav.scp", check_sorted=False) if audio else {}
    speakers = {}
    if audio and (directory / "utt2spk").exists():
        speakers = read_table(directory / "utt2spk", check_sorted=False)
    entities: dict[str, str] = {}
    spoken: dict[str, str] = {}
    if (directory / "spoken").exists():
        spoken = read_table(directory / "spoken", check_sorted=False)
    if (directory / "entities").exists():
        entities = read_entities(directory / "entities", check_sorted=False)
    utterances = []
    main = text if text is not None else wavs if audio else entities
    if audio:
        same_keys(main, wavs)
    for key in main:
        raw, located = None if text is None else text[key], None
        normal = None if raw is None else normalize(raw)
        if key in entities:
            located = _relocate(raw, entities[key], entities.where(key))
        path = Path(wavs[key]) if key in wavs else None
        speaker = speakers.get(key, key)
        voiced = spoken.get(key)
        if voiced is None and raw is not None:
            voiced = spell_out(raw, normal)
        utterances.append(Utterance(key, normal, speaker, path, located, voiced))
    for table in (entities, spoken):
        for key in table:
            if key not in main:
                raise UserError(
                    f"{table.where(key)}: {key!r} is not in {main.path}; add it there "
                    "or remove the line"
                )
    write_data_dir(directory, utterances)


def _relocate(raw: str | None, items: list[Entity], where: str) -> tuple[Entity, ...]:
    """Carry spans over ``raw.split()`` to the normalised text; None has none."""
    if raw is None:
        return tuple(Entity(item.type, normalize(item.text)) for item in items)
    words = [match.span() for match in re.finditer(r"\S+", raw)]
    done = []
    for item in items:
        if item.start is None or item.end is None:
            done.append(Entity(item.type, normalize(item.text)))
            continue
        if not 0 <= item.start < item.end <= len(words):
            raise UserError(
                f"{where}: span {item.start}:{item.end} is outside its sentence of "
                f"{len(words)} words; mend it"
            )
        span = (words[item.start][0], words[item.end - 1][1], item.type)
        located = locate(raw, [span])[1]
        if not located or located[0].text != normalize(item.text):
            raise UserError(
                f"{where}: entity {item.text!r} is not what stands at "
                f"{item.start}:{item.end}; mend the text or the span"
            )
        done += located
    return tuple(done)
