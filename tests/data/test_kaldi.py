import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from spft.data.entities import Entity, read_entities, write_entities
from spft.data.fix import fix_data_dir
from spft.data.kaldi import read_data_dir, validate_data_dir, write_data_dir
from spft.data.table import read_table
from spft.data.utterance import Utterance
from spft.errors import UserError

ENTITY = Entity("artist", "nina simone", 1, 3)


@pytest.fixture
def utterances(tmp_path):
    tone = 0.1 * np.sin(np.arange(4000) / 5)
    made = []
    for speaker, key in (("s2", "s2-a"), ("s1", "s1-b"), ("s1", "s1-a")):
        path = tmp_path / f"{key}.wav"
        soundfile.write(path, tone, 16000)
        made.append(Utterance(key, "play nina simone now", speaker, path, (ENTITY,)))
    return made


@pytest.fixture
def data(tmp_path, utterances):
    return write_data_dir(tmp_path / "data" / "test", utterances)


def test_round_trip_is_sorted(data, utterances):
    assert (data / "text").read_text().splitlines()[0] == "s1-a play nina simone now"
    assert (data / "spk2utt").read_text() == "s1 s1-a s1-b\ns2 s2-a\n"
    expected = sorted(utterances, key=lambda u: u.id)
    assert validate_data_dir(data, check_audio=True) == expected
    assert [p.name for p in data.parent.iterdir()] == ["test"]  # nothing left over


def test_text_only(tmp_path):
    directory = write_data_dir(tmp_path / "t", [Utterance("a", "one", entities=())])
    assert sorted(p.name for p in directory.iterdir()) == ["entities", "text"]
    assert validate_data_dir(directory, audio=False)[0].entities == ()


def test_entities_without_transcripts(tmp_path, utterances):
    bare = [
        Utterance(u.id, None, u.speaker, u.audio, (Entity("size", "small"),))
        for u in utterances
    ]
    directory = write_data_dir(tmp_path / "orders", bare)
    assert not (directory / "text").exists()
    assert validate_data_dir(directory)[0].entities == (Entity("size", "small"),)


def test_failed_write_keeps_the_old_directory(data, utterances):
    before = {p.name: p.read_bytes() for p in data.iterdir()}
    bad = [*utterances, Utterance("s3-a", "Not Normal", "s3", utterances[0].audio)]
    with pytest.raises(UserError, match=r"data/test/text:4: 'Not Normal'"):
        write_data_dir(data, bad)
    with pytest.raises(UserError, match="duplicate utterance id 's1-a'"):
        write_data_dir(data, [*utterances, utterances[2]])
    with pytest.raises(UserError, match="no utterances"):
        write_data_dir(data, [])
    assert {p.name: p.read_bytes() for p in data.iterdir()} == before
    assert [p.name for p in data.parent.iterdir()] == ["test"]


TEXT = ["s1-a play nina simone now", "s1-b play nina simone now"]
TEXT += ["s2-a play nina simone now"]


def entity(**changes) -> str:
    fields = {"type": "artist", "text": "nina simone", "start": 1, "end": 3}
    return "s1-a\t" + json.dumps([fields | changes])


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("text", [TEXT[0], TEXT[2], TEXT[1]], "text:3: 's1-b' after 's2-a'.*LC_ALL=C"),
        ("text", [TEXT[0], *TEXT], "text:2: duplicate 's1-a', first on line 1"),
        ("text", [TEXT[0], "s1-b", TEXT[2]], "text:2: nothing after 's1-b'"),
        ("text", [TEXT[0], "", *TEXT[1:]], "text:2: blank line"),
        ("text", [TEXT[0], b"s1-b caf\xe9"], "text:2: not UTF-8.*iconv"),
        ("text", [], "text:1: empty file"),
        ("text", ["s1-a Play it"], "text:1: 'Play it' is not normalised.*--fix"),
        ("text", TEXT[:2], "wav.scp:3: audio without text: 's2-a'"),
        ("text", [*TEXT, "s3-a hello"], "text:4: text without audio: 's3-a'"),
        ("wav.scp", None, "wav.scp: no such file"),
        ("utt2spk", ["s1-a s1", "s1-b s1"], "wav.scp:3: 's2-a' has no speaker"),
        (
            "utt2spk",
            ["s1-a s1", "s1-b s1", "s2-a s2", "s3-a s3"],
            "utt2spk:4: 's3-a' is not in",
        ),
        ("spk2utt", None, "spk2utt: no such file; make it .*--fix"),
        ("spk2utt", ["s1 s1-a s2-a s1-b"], "spk2utt:1: 's2-a' of speaker 's1'"),
        ("spk2utt", ["s1 s1-a s1-b"], "utt2spk:3: 's2-a' is not in"),
        ("entities", [entity(end=9)], r"entities:1: span 1:9 .* outside .* 4 words"),
        ("entities", [entity(start=2)], "entities:1: .*says 'simone'"),
        ("entities", [entity(start=None)], "entities:1: start and end"),
        ("entities", [entity(text="")], "entities:1: an entity's text is empty"),
        ("entities", [entity(score=1)], "entities:1: an entity is"),
        ("entities", ["s1-a [{]"], "entities:1: not JSON"),
        ("entities", ["s1-a {}"], "entities:1: not a list"),
        ("entities", ["s0-a []"], "entities:1: 's0-a' is not in .*text"),
    ],
)
def test_faults_name_file_and_line(data, name, lines, message):
    if lines is None:
        (data / name).unlink()
    else:
        raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
        (data / name).write_bytes(b"".join(line + b"\n" for line in raw))
    with pytest.raises(UserError, match=message) as caught:
        validate_data_dir(data)
    assert "\n" not in str(caught.value)


def test_audio_faults_name_the_line(data, utterances):
    utterances[0].audio.write_bytes(b"")
    validate_data_dir(data)
    with pytest.raises(UserError, match=r"wav.scp:3: .*s2-a.wav: empty audio"):
        validate_data_dir(data, check_audio=True)
    utterances[0].audio.unlink()
    with pytest.raises(UserError, match=r"wav.scp:3: .*s2-a.wav does not exist"):
        validate_data_dir(data)


def test_missing_directory(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such data directory"):
        read_data_dir(tmp_path / "nowhere")


def test_hypotheses_may_be_empty(tmp_path):
    path = tmp_path / "text"
    path.write_text("a\nb two  words \n")
    assert read_table(path, allow_empty=True) == {"a": "", "b": "two  words"}


def test_entities_round_trip(tmp_path):
    entities = {"b": [ENTITY], "a": [], "c": [Entity("size", "małe")]}
    write_entities(tmp_path / "entities", entities)
    assert read_entities(tmp_path / "entities") == entities
    first = (tmp_path / "entities").read_text(encoding="utf-8").splitlines()[0]
    assert first == "a\t[]"


def test_fix_keeps_audio(data):
    with pytest.raises(UserError, match="leave --no_audio out"):
        fix_data_dir(data, audio=False)
    assert (data / "wav.scp").exists()


def test_advice_for_text_without_audio(data):
    (data / "wav.scp").unlink()
    (data / "entities").unlink()
    (data / "text").write_text("s1-a Play it\n")
    with pytest.raises(UserError, match=rf"--fix --no_audio {data}`"):
        validate_data_dir(data, audio=False)
    fix_data_dir(data, audio=False)
    assert validate_data_dir(data, audio=False)[0].text == "play it"


def test_ids_that_differ_by_case_alone(data, utterances):
    other = replace(utterances[0], id=utterances[0].id.upper())
    with pytest.raises(UserError, match="'s2-a' differs from 'S2-A' by case alone"):
        write_data_dir(data, [*utterances, other])


def test_entities_may_stand_in_for_the_text(data):
    for name in ("text", "spk2utt"):
        (data / name).unlink()
    (data / "entities").write_text('s1-a\t[{"type": "size", "text": "Small"}]\n')
    fix_data_dir(data)
    first = validate_data_dir(data)[0]
    assert (first.text, first.entities) == (None, (Entity("size", "small"),))


def test_fix_normalises_sorts_and_moves_spans(data):
    (data / "text").write_text(
        "s2-a play it\ns1-a Play it at 7:30 by U2!\ns1-b stop\n", encoding="utf-8"
    )
    fields = {"type": "artist", "text": "U2", "start": 5, "end": 6}
    (data / "entities").write_text(f"s1-a\t{json.dumps([fields])}\n")
    (data / "spk2utt").unlink()
    fix_data_dir(data)
    first = validate_data_dir(data)[0]
    assert first.text == "play it at seven thirty by u two"
    assert first.entities == (Entity("artist", "u two", 6, 8),)
