"""A user's text, entities and test audio, in the shape of an embedded corpus.

Text is a file of plain sentences, one a line; JSON lines with ``text`` and perhaps
``entities``; or a Kaldi directory. Test audio is a Kaldi directory, or a folder of
audio files, also in folders of its own, with each one's transcript in ``<name>.txt``
beside it.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from spft.data.corpora.files import AUDIO_SUFFIXES, files_in, read_jsonl
from spft.data.normalize import dropped_letters, normalize
from spft.data.table import read_lines, read_table
from spft.data.utterance import Utterance
from spft.errors import UserError

UNTYPED = "entity"
LONG = 100  # words of a line that is hardly one sentence
_log = logging.getLogger(__name__)


class Lexicon:
    """Entities to be found in text: normalised words to their type."""

    def __init__(self, entries: Iterable[tuple[str, str]] = ()):
        self.types: dict[tuple[str, ...], str] = {}
        self.add(entries)

    def add(self, entries: Iterable[tuple[str, str]]) -> None:
        """Add ``(text, type)`` pairs, as they are written."""
        for text, kind in entries:
            if words := tuple(normalize(text).split()):
                self.types.setdefault(words, kind)
        self.longest = max(map(len, self.types), default=0)

    def find(self, text: str) -> list[dict]:
        """Entities in a normalised sentence, the longest at each place, 's or not."""
        words, found, at = text.split(), [], 0
        while at < len(words):
            for end in range(min(len(words), at + self.longest), at, -1):
                bare = (*words[at : end - 1], words[end - 1].removesuffix("'s"))
                kind = self.types.get(tuple(words[at:end])) or self.types.get(bare)
                if kind:
                    name = " ".join(words[at:end])
                    found.append({"type": kind, "text": name, "start": at, "end": end})
                    at = end - 1
                    break
            at += 1
        return found


def read_lexicon(path: Path) -> Iterator[tuple[str, str]]:
    """Lines of ``entity`` or ``entity<TAB>type``; what cannot be written is left out.

    Raises:
        UserError: no such file, a table of other columns, or no line holds a word.
    """
    known, wordless = 0, []
    if path.suffix.lower() in (".csv", ".json", ".jsonl"):
        raise UserError(
            f"{path}: a list of names is a .tsv or .txt: an entity a line, perhaps a "
            "tab and its type behind it; write it so"
        )
    for number, line in enumerate(read_lines(path), 1):
        text, _, kind = line.partition("\t")
        if not text.strip():
            continue
        if "\t" in kind:
            raise UserError(f"{path}:{number}: more than an entity and its type")
        if normalize(text) and not dropped_letters(text):
            known += 1
            yield text, kind.strip() or UNTYPED
        else:
            wordless.append(f"{path}:{number}: {text.strip()!r}")
    if not known:
        raise UserError(f"{wordless[0] if wordless else path}: no word in any line")
    if wordless:
        _log.warning(
            f"{len(wordless)} names without a word that the models know, or with "
            f"letters that they do not, are left out, the first at {wordless[0]}"
        )


def read_sentences(path: Path, lexicon: Lexicon) -> dict[str, str]:
    """Normalised sentences, each once; entities that JSON lines name are learnt.

    Returns:
        The sentences, and each as it is written.

    Raises:
        UserError: no such file, malformed line, or no sentence in it.
    """
    if path.is_dir():
        rows = _rows_of_kaldi(path, lexicon)
    elif path.suffix.lower() in (".jsonl", ".json"):
        rows = _rows_of_json(path, lexicon)
    else:
        rows = _rows_of_lines(path)
    sentences, wordless = {}, []
    for row in rows:
        if text := normalize(row):
            sentences[text] = row
        elif row.strip():
            wordless.append(row)
    if wordless:
        _log.warning(
            f"{path}: {len(wordless)} lines without a word that the models know, such "
            f"as {wordless[0]!r}, are left out"
        )
    if not sentences:
        raise UserError(f"{path}: no sentence in it")
    if mixed := [row for row in sentences.values() if dropped_letters(row)]:
        _log.warning(
            f"{path}: {len(mixed)} lines, such as {mixed[0]!r}, have letters that the "
            "models do not know; without these they may read oddly: write such words "
            "in Latin letters"
        )
    if long := [text for text in sentences if len(text.split()) > LONG]:
        _log.warning(
            f"{path}: {len(long)} lines of more than {LONG} words, such as "
            f"'{long[0][:40]}…': a line should be what is said at once, or training "
            "takes much memory"
        )
    return sentences


def _rows_of_kaldi(path: Path, lexicon: Lexicon) -> list[str]:
    from spft.data.entities import read_entities

    if not (path / "text").exists():
        raise UserError(
            f"{path}: a folder without the table text, so no Kaldi directory; give one "
            "file of sentences"
        )
    if (path / "entities").exists():
        found = read_entities(path / "entities", check_sorted=False)
        for entities in found.values():
            lexicon.add((entity.text, entity.type) for entity in entities)
    return list(read_table(path / "text", check_sorted=False).values())


def _rows_of_json(path: Path, lexicon: Lexicon) -> list[str]:
    rows = []
    for where, row in read_jsonl(path, ("text",)):
        if not isinstance(row["text"], str):
            raise UserError(f"{where}: text is {row['text']!r}, not a string")
        rows.append(row["text"])
        try:
            entities = [(e["text"], e["type"]) for e in row.get("entities", ())]
            if not all(isinstance(x, str) and x for pair in entities for x in pair):
                raise TypeError
        except (KeyError, TypeError) as error:
            raise UserError(
                f'{where}: entities are [{{"type": …, "text": …}}, …], not '
                f"{json.dumps(row['entities'])}"
            ) from error
        lexicon.add(entities)
    return rows


def _rows_of_lines(path: Path) -> list[str]:
    if path.suffix.lower() in (".csv", ".tsv"):
        raise UserError(
            f"{path}: a table, whose other columns would be read as words; write its "
            "sentences alone into a .txt, one a line"
        )
    if path.name == "text":
        raise UserError(
            f"{path}: looks like a Kaldi table, whose ids would be read as words; give "
            "its folder, or rename a file of plain sentences"
        )
    rows = list(read_lines(path))
    for number, row in enumerate(rows, 1):
        if "\t" in row.strip():
            raise UserError(
                f"{path}:{number}: a tab inside the line: a table's other columns "
                "would be read as words; leave its sentences alone in the file"
            )
    return rows


def read_recordings(path: Path) -> list[Utterance]:
    """Recordings with transcripts, of a Kaldi directory or a folder of files.

    Raises:
        UserError: no such folder, a recording without transcript or the reverse.
    """
    if (path / "segments").exists():
        raise UserError(
            f"{path}/segments: recordings are read whole; cut them first (Kaldi's "
            "extract-segments, ESPnet's format_wav_scp.sh --segments)"
        )
    if (path / "wav.scp").exists():
        return _recordings_of_kaldi(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    return _recordings_of_folder(path)


def _recordings_of_kaldi(path: Path) -> list[Utterance]:
    wavs, texts = (
        read_table(path / name, check_sorted=False) for name in ("wav.scp", "text")
    )
    speakers = {}
    if (path / "utt2spk").exists():
        speakers = read_table(path / "utt2spk", check_sorted=False)
    if odd := sorted(wavs.keys() ^ texts.keys()):
        raise UserError(f"{path}: {odd[0]!r} is not in both wav.scp and text")
    return [
        _recording(
            u, texts[u], speakers.get(u, u), Path(wav), wavs.where(u), texts.where(u)
        )
        for u, wav in wavs.items()
    ]


def _recordings_of_folder(path: Path) -> list[Utterance]:
    transcripts: dict[str, Path] = {}
    recordings: dict[str, Path] = {}
    for file in files_in(path):
        name = str(file.relative_to(path).with_suffix(""))
        if file.suffix.lower() == ".txt":
            transcripts[name] = file
        elif file.suffix.lower() in AUDIO_SUFFIXES:
            if other := recordings.get(name):
                raise UserError(f"{file}: {other.name} has the same name; keep one")
            recordings[name] = file
    if not transcripts:
        raise UserError(
            f"{path}: neither wav.scp nor transcripts there; put each recording's "
            "words into a .txt beside it"
        )
    if silent := sorted(transcripts.keys() - recordings.keys()):
        raise UserError(
            f"{transcripts[silent[0]]}: no recording of that name beside it "
            f"({' '.join(AUDIO_SUFFIXES)}; convert others){_more(silent)}"
        )
    if mute := sorted(recordings.keys() - transcripts.keys()):
        raise UserError(
            f"{recordings[mute[0]]}: no {Path(mute[0]).name}.txt with its words beside "
            f"it; add it, or take the recording out{_more(mute)}"
        )
    return [
        _recording(name, " ".join(read_lines(file)), name, recordings[name], str(file))
        for name, file in transcripts.items()
    ]


def _more(names: list[str]) -> str:
    return f"; so with {len(names) - 1} more" if len(names) > 1 else ""


def _recording(
    name: str, text: str, speaker: str, audio: Path, where: str, text_where: str = ""
) -> Utterance:
    if letters := dropped_letters(text):
        _log.warning(f"{text_where or where}: {letters!r}: not Latin letters, left out")
    text = normalize(text)
    if str(audio).endswith("|"):
        raise UserError(f"{where}: {audio}: a command; run it once and name its file")
    if audio.suffix.lower() not in AUDIO_SUFFIXES:
        raise UserError(
            f"{where}: {audio}: not a file of {' '.join(AUDIO_SUFFIXES)}; convert it"
        )
    if not audio.is_file():
        raise UserError(f"{where}: {audio}: no such file; write its whole path")
    if not text:
        raise UserError(
            f"{text_where or where}: no words; write what is said, or remove it"
        )
    name, speaker = (re.sub(r"[^\w.'-]+", "_", word) for word in (name, speaker))
    # Kaldi wants utterance ids to begin with the speaker.
    name = name if name.startswith(speaker) else f"{speaker}-{name}"
    return Utterance(name, text, speaker, audio)
