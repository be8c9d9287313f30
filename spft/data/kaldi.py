"""Kaldi tables and data directories: read, check, write.

A directory holds ``wav.scp``, ``text``, ``utt2spk``, ``spk2utt`` and, optionally,
``entities``; a text-only one ``text`` and, optionally, ``entities``. Where a corpus has
no transcripts, ``entities`` stands in for ``text``. What a voice is to say where that
differs from ``text`` is written beside it, as ``spoken``, for ``spft.bin.synthesize``.
"""

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from spft.data.entities import check_span, read_entities, write_entities
from spft.data.normalize import normalize
from spft.data.table import Table, read_table, write_table
from spft.data.utterance import Utterance
from spft.errors import UserError

FILES = ("wav.scp", "text", "utt2spk", "spk2utt", "entities", "spoken")


def read_data_dir(directory: str | Path, *, audio: bool = True) -> list[Utterance]:
    """Read and check a data directory; see :func:`validate_data_dir`."""
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"{directory}: no such data directory; run data preparation")
    has_text = (directory / "text").exists()
    if not has_text and not (directory / "entities").exists():
        raise UserError(f"{directory}/text: no such file; write `utt_id words…` lines")
    text = read_table(directory / "text") if has_text else None
    wavs = read_table(directory / "wav.scp") if audio else None
    if audio and (directory / "segments").exists():
        raise UserError(
            f"{directory}/segments: parts of recordings are not read; cut them into "
            "files of their own (utils/data/extract_wav_segments_data_dir.sh of Kaldi)"
        )
    main = text if text is not None else wavs
    if main is None:
        main = read_table(directory / "entities")
    if not main:
        raise UserError(f"{main.path}:1: empty file; there is no utterance in it")
    if text is not None:
        _check_text(text)
    speakers: dict[str, str] = {}
    if wavs is not None:
        if text is not None:
            same_keys(text, wavs)
        _check_ids(wavs)
        speakers = _speakers(directory, wavs)
    entities = {}
    if (directory / "entities").exists():
        entities = read_entities(directory / "entities")
        for key, items in entities.items():
            if key not in main:
                raise UserError(
                    f"{entities.where(key)}: {key!r} is not in {main.path}; remove the "
                    "line"
                )
            for entity in items:
                if text is not None:
                    check_span(entity, text[key], entities.where(key))
                _check_normal(entity.text, entities.where(key), directory)
    return [
        Utterance(
            key,
            text[key] if text is not None else None,
            speakers.get(key),
            Path(wavs[key]) if wavs is not None else None,
            tuple(entities[key]) if key in entities else None,
        )
        for key in main
    ]


def _check_ids(wavs: Table) -> None:
    folded: dict[str, str] = {}
    for key in wavs:
        if (other := folded.setdefault(key.casefold(), key)) != key:
            raise UserError(
                f"{wavs.where(key)}: {key!r} differs from {other!r} by case "
                "alone, which sclite does not tell apart; rename one"
            )


def _check_text(text: Table) -> None:
    for key, value in text.items():
        _check_normal(value, text.where(key), text.path.parent)


def _check_normal(text: str, where: str, directory: Path) -> None:
    if normalize(text) != text:
        option = "" if (directory / "wav.scp").exists() else "--no_audio "
        raise UserError(
            f"{where}: {text!r} is not normalised (would be {normalize(text)!r}); run "
            f"`python -m spft.bin.validate_data --fix {option}{directory}`"
        )


def same_keys(text: Table, wavs: Table) -> None:
    """Refuse utterances that only one of two tables has.

    Raises:
        UserError: naming the line.
    """
    for key in text:
        if key not in wavs:
            raise UserError(
                f"{text.where(key)}: text without audio: {key!r} is not in "
                f"{wavs.path}; add it there or remove the line"
            )
    for key in wavs:
        if key not in text:
            raise UserError(
                f"{wavs.where(key)}: audio without text: {key!r} is not in "
                f"{text.path}; add it there or remove the line"
            )


def _speakers(directory: Path, wavs: Table) -> dict[str, str]:
    utt2spk = read_table(directory / "utt2spk")
    fix = f"`python -m spft.bin.validate_data --fix {directory}`"
    if not (directory / "spk2utt").exists():
        raise UserError(f"{directory}/spk2utt: no such file; make it with {fix}")
    spk2utt = read_table(directory / "spk2utt")
    rebuild = f"correct utt2spk, then rebuild spk2utt with {fix}"
    for key in wavs:
        if key not in utt2spk:
            raise UserError(
                f"{wavs.where(key)}: {key!r} has no speaker in {utt2spk.path}; add it "
                "(the utterance id itself will do)"
            )
    listed: dict[str, str] = {}
    for speaker, keys in spk2utt.items():
        for key in keys.split():
            if utt2spk.get(key) != speaker or key in listed:
                raise UserError(
                    f"{spk2utt.where(speaker)}: {key!r} of speaker {speaker!r} does "
                    f"not agree with {utt2spk.path}; {rebuild}"
                )
            listed[key] = speaker
    for key in utt2spk:
        if key not in wavs:
            raise UserError(
                f"{utt2spk.where(key)}: {key!r} is not in {wavs.path}; remove the line"
            )
        if key not in listed:
            raise UserError(
                f"{utt2spk.where(key)}: {key!r} is not in {spk2utt.path}; {rebuild}"
            )
    return dict(utt2spk)


def validate_data_dir(
    directory: str | Path, *, audio: bool = True, check_audio: bool = False
) -> list[Utterance]:
    """Check a data directory and return its utterances.

    Args:
        directory: the Kaldi data directory.
        audio: whether ``wav.scp``, ``utt2spk`` and ``spk2utt`` are expected.
        check_audio: open and decode every file (slow) instead of only looking for it.

    Raises:
        UserError: the first fault found, with its file, line and what to do.
    """
    from spft.data.audio import read_audio

    utterances = read_data_dir(directory, audio=audio)
    if audio:
        wavs = read_table(Path(directory) / "wav.scp")
        for utterance in utterances:
            where = wavs.where(utterance.id)
            if check_audio:
                read_audio(utterance.audio, where=where)
            elif wavs[utterance.id].endswith("|"):
                raise UserError(f"{where}: a command; give the path of a file instead")
            elif not utterance.audio.is_file():
                raise UserError(
                    f"{where}: {utterance.audio} does not exist; run data preparation "
                    "again or mend the path"
                )
    return utterances


def write_data_dir(directory: str | Path, utterances: Iterable[Utterance]) -> Path:
    """Write utterances as a data directory (text-only if none of them has audio).

    The files are written and checked in a temporary neighbour first, so that what is
    not valid leaves the directory as it was. Files of other names are left alone.

    Raises:
        UserError: no utterances, duplicate ids, what :func:`validate_data_dir` finds.
    """
    directory, utterances = Path(directory), list(utterances)
    if not utterances:
        raise UserError(f"{directory}: no utterances to write; check the corpus path")
    audio = any(utterance.audio is not None for utterance in utterances)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(
        tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent)
    )
    try:
        _write_files(temporary, utterances, audio)
        validate_data_dir(temporary, audio=audio)
        directory.mkdir(exist_ok=True)
        for name in FILES:
            if (temporary / name).exists():
                os.replace(temporary / name, directory / name)
            else:
                (directory / name).unlink(missing_ok=True)
    except UserError as error:
        # The temporary name would mean nothing to the reader of the message.
        raise UserError(str(error).replace(str(temporary), str(directory))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _write_files(directory: Path, utterances: list[Utterance], audio: bool) -> None:
    by_id = {utterance.id: utterance for utterance in utterances}
    if len(by_id) < len(utterances):
        seen: set[str] = set()
        twice = next(u.id for u in utterances if u.id in seen or seen.add(u.id))
        raise UserError(f"{directory}/text: duplicate utterance id {twice!r}; keep one")
    texts = {u.id: u.text for u in utterances if u.text is not None}
    if texts:
        write_table(directory / "text", texts)
    if audio:
        wavs = {u.id: str(u.audio) for u in utterances if u.audio is not None}
        write_table(directory / "wav.scp", wavs)
        utt2spk = {u.id: u.speaker or u.id for u in utterances}
        write_table(directory / "utt2spk", utt2spk)
        spk2utt = defaultdict(list)
        for key in sorted(utt2spk):
            spk2utt[utt2spk[key]].append(key)
        lines = {speaker: " ".join(keys) for speaker, keys in spk2utt.items()}
        write_table(directory / "spk2utt", lines)
    entities = {u.id: u.entities for u in utterances if u.entities is not None}
    if entities:
        write_entities(directory / "entities", entities)
    spoken = {u.id: u.spoken for u in utterances if u.spoken not in (None, u.text)}
    if spoken:
        write_table(directory / "spoken", spoken)
