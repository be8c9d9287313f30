"""A recipe out of a user's files, read back by data preparation."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from spft.bin import new_domain, prepare_data
from spft.data.corpora.mini import read_file, read_mini
from spft.data.own_domain import Lexicon, read_lexicon, read_recordings, read_sentences
from spft.errors import UserError
from spft.search.phrases import Phrases

TEXT = """\
Give me 2 Aspirin tablets.
give me two aspirin tablets

Is ibuprofen better than Paracetamol Forte?
When do I take it?
I ran out of aspirin.
Please refill paracetamol.
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "notes.txt").write_text(TEXT)
    (tmp_path / "drugs.txt").write_text(
        "Aspirin\tdrug\nparacetamol forte\tdrug\nParacetamol\tdrug\nIbuprofen\n"
        "Metamizole\n"
    )
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    rng = np.random.default_rng(0)
    spoken = ("When do I take it", "refill aspirin", "more ibuprofen", "no")
    for i, words in enumerate(spoken):
        (recordings / f"call {i}.txt").write_text(words + "\n")
        soundfile.write(recordings / f"call {i}.wav", rng.normal(0, 0.1, 8000), 16000)
    return tmp_path


def make(monkeypatch, root, *options):
    command = ["x", "medical", "--text", str(root / "notes.txt"), *map(str, options)]
    monkeypatch.setattr("sys.argv", [*command, "--egs", str(root / "egs2")])
    new_domain.main()
    return root / "egs2/medical/asr1"


def test_entities_are_found_the_longest_first():
    entries = [("Paracetamol", "drug"), ("paracetamol forte", "drug"), ("24", "hour")]
    lexicon = Lexicon(entries)
    found = lexicon.find("paracetamol forte for twenty four paracetamol")
    assert [(e["text"], e["start"], e["end"]) for e in found] == [
        ("paracetamol forte", 0, 2),
        ("twenty four", 3, 5),
        ("paracetamol", 5, 6),
    ]
    (found,) = lexicon.find("is paracetamol's label red")
    assert (found["text"], found["type"], found["end"]) == ("paracetamol's", "drug", 2)


def test_recordings_become_dev_and_test(monkeypatch, files, capsys):
    recipe = make(monkeypatch, files, "--entities", files / "drugs.txt",
                  "--test", files / "recordings")  # fmt: skip
    sets = read_mini(recipe / "downloads")
    assert len(sets["dev"]) == 1 and len(sets["test"]) == 3
    text = {u.text for name in ("text/train", "text/dev") for u in sets[name]}
    # Normalised, each once, and without the sentence that is spoken.
    assert text == {
        "give me two aspirin tablets",
        "is ibuprofen better than paracetamol forte",
        "i ran out of aspirin",
        "please refill paracetamol",
    }
    spoken = {u.text: u for u in sets["dev"] + sets["test"]}
    assert [(e.type, e.text) for e in spoken["refill aspirin"].entities] == [
        ("drug", "aspirin")
    ]
    assert spoken["more ibuprofen"].entities[0].type == "entity"
    assert spoken["no"].id == "call_3" and spoken["no"].audio.exists()
    assert (recipe / "run.sh").stat().st_mode & 0o100
    assert "1 taken out" in capsys.readouterr().out


def test_recordings_in_folders(files):
    day = files / "recordings/day 1"
    day.mkdir()
    for suffix in ("wav", "txt"):
        shutil.move(files / f"recordings/call 1.{suffix}", day)
        shutil.copy(files / f"recordings/call 2.{suffix}", day)
    ids = [spoken.id for spoken in read_recordings(files / "recordings")]
    assert sorted(ids) == ["call_0", "call_2", "call_3", "day_1_call_1", "day_1_call_2"]


def test_much_text_without_names_is_warned_of(monkeypatch, files, capsys):
    monkeypatch.setattr(new_domain, "MANY", 3)
    make(monkeypatch, files, "--test", files / "recordings")
    assert "warning: without --entities" in capsys.readouterr().err
    shutil.rmtree(files / "egs2/medical")
    make(monkeypatch, files, "--test", files / "recordings",
         "--entities", files / "drugs.txt")  # fmt: skip
    shown = capsys.readouterr()
    assert not shown.err and "the text is read so: '" in shown.out


def test_a_sentence_by_several_speakers_stays_on_one_side(monkeypatch, files):
    spoken = files / "recordings"
    for i, words in enumerate(["when do i take it", "no"] * 3):
        (spoken / f"again {i} (b).txt").write_text(words + "\n")
        shutil.copy(spoken / "call 0.wav", spoken / f"again {i} (b).wav")
    recipe = make(monkeypatch, files, "--test", spoken)
    sets = read_mini(recipe / "downloads")
    dev, test = ({u.text for u in sets[name]} for name in ("dev", "test"))
    assert dev and test and not dev & test
    ids = {u.id for u in sets["dev"] + sets["test"]}
    assert "again_1_b_" in ids and len(ids) == 10


def test_recordings_of_one_name_and_recordings_that_cannot_be_read(monkeypatch, files):
    dev = files / "dev"
    dev.mkdir()
    (dev / "call 0.txt").write_text("stop\n")
    samples, rate = soundfile.read(files / "recordings/call 1.wav")
    soundfile.write(dev / "call 0.flac", samples, rate)
    options = ("--test", files / "recordings", "--dev", dev)
    with pytest.raises(UserError, match="a second recording 'call_0'"):
        make(monkeypatch, files, *options)
    shutil.copyfile(files / "recordings/call 1.wav", dev / "call 9.wav")
    (dev / "call 9.txt").write_text("stop\n")
    (dev / "call 0.flac").rename(dev / "call 8.flac")
    (dev / "call 0.txt").rename(dev / "call 8.txt")
    with pytest.raises(UserError, match="call 9.wav: in dev and test|call 1.wav: in"):
        make(monkeypatch, files, *options)
    (dev / "call 9.txt").unlink()
    (dev / "call 9.wav").unlink()
    (dev / "call 8.flac").unlink()
    (dev / "call 8.txt").rename(dev / "call 0.txt")
    soundfile.write(dev / "call 0.flac", 0 * samples, rate)
    (files / "recordings/call 1.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"silence.* .nor can call 1.wav be"):
        make(monkeypatch, files, *options)
    assert not (files / "egs2/medical").exists()


def test_sentences_are_held_out_to_be_spoken(monkeypatch, files):
    class Engine:
        voices = ("af_a", "af_b", "am_c")

        def __init__(self, model):
            pass

    monkeypatch.setattr("spft.synth.KokoroEngine", Engine)
    with pytest.raises(UserError, match="more than half of the 5"):
        make(monkeypatch, files, "--synthesize", 2)
    with (files / "notes.txt").open("a") as stream:
        stream.write("Ask the GP whether more than three tablets a day are safe\n")
    monkeypatch.setattr(new_domain, "MAX_SPOKEN", 8)  # so that it is not held out
    recipe = make(monkeypatch, files, "--synthesize", 1)
    rows = {
        name: [json.loads(line) for line in path.read_text().splitlines()]
        for name in ("adapt", "dev", "test")
        for path in [recipe / f"downloads/{name}.jsonl"]
    }
    assert [len(rows[name]) for name in ("adapt", "dev", "test")] == [4, 1, 1]
    assert len({row["text"] for of_set in rows.values() for row in of_set}) == 6
    assert rows["dev"][0]["speaker"] == "af_a" != rows["test"][0]["speaker"]
    adapt = read_file(recipe / "downloads/adapt.jsonl", audio=False)
    (by_letters,) = [u.spoken for u in adapt if u.spoken]
    assert by_letters.startswith("ask the g.p. whether")
    stops = {
        f"stop {word}": f"Stop {word.upper()}" for word in ("dj", "ep", "tv", "fm")
    }
    (row,) = new_domain.held_out("x", stops, 1)["test"]
    name = row["text"].split()[1]
    assert row["spoken"] == f"stop {name[0]}.{name[1]}."


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda spoken: (spoken / "a.txt").unlink(), "a.wav: no a.txt"),
        (lambda spoken: (spoken / "a.wav").unlink(), "a.txt: no recording"),
        (
            lambda spoken: (spoken / "a.txt").write_bytes(b"caf\xe9"),
            "a.txt:1: not UTF-8.*latin1",
        ),
        (
            lambda spoken: (spoken / "a.txt").write_bytes("go".encode("utf-16")),
            "a.txt:1: not UTF-8.*-f utf-16",
        ),
        (lambda spoken: (spoken / "a.mp3").touch(), "a.wav: a.mp3 has the same name"),
        (lambda spoken: (spoken / "segments").touch(), "segments: recordings are read"),
    ],
)
def test_recordings_and_transcripts_belong_together(tmp_path, change, words):
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("stop")
    (tmp_path / "b.OPUS").touch()
    (tmp_path / "b.TXT").write_text("go\non")
    (tmp_path / "._a.wav").touch()
    (tmp_path / "._a.txt").write_bytes(b"\xb0\xff")
    assert [spoken.text for spoken in read_recordings(tmp_path)] == ["stop", "go on"]
    change(tmp_path)
    with pytest.raises(UserError, match=words):
        read_recordings(tmp_path)


def test_kaldi_recordings_are_files(tmp_path):
    (tmp_path / "text").write_text("a stop\n")
    for path, words in (
        ("sph2pipe a.sph |", "a command; run it once"),
        ("a.sph", "convert it"),
        ("a.wav", "no such file"),
    ):
        (tmp_path / "wav.scp").write_text(f"a {path}\n")
        with pytest.raises(UserError, match=words):
            read_recordings(tmp_path)


def test_other_forms_of_text(files, caplog):
    (files / "rows.jsonl").write_text(
        '{"text": "Play ABBA!", "entities": [{"type": "artist", "text": "ABBA"}]}\n'
        '{"text": "Stop, DJ"}\n'
    )
    lexicon = Lexicon()
    found = read_sentences(files / "rows.jsonl", lexicon)
    assert found == {"play abba": "Play ABBA!", "stop dj": "Stop, DJ"}
    assert lexicon.find("is it abba")[0]["type"] == "artist"
    kaldi = files / "kaldi"
    kaldi.mkdir()
    (kaldi / "text").write_text("b Stop now\na Go\n")
    assert list(read_sentences(kaldi, Lexicon())) == ["stop now", "go"]
    (files / "mixed.txt").write_text(
        "stop\n\n\N{CYRILLIC SMALL LETTER DE}\nplay Дома\n"
    )
    assert list(read_sentences(files / "mixed.txt", Lexicon())) == ["stop", "play"]
    assert "1 lines without a word" in caplog.text
    assert "1 lines, such as 'play Дома', have letters that" in caplog.text


def test_text_that_is_hardly_english(monkeypatch, files, capsys):
    with (files / "notes.txt").open("a") as stream:
        stream.writelines(f"zwei Tabletten vor Mahlzeit {i}\n" for i in range(99))
    make(monkeypatch, files, "--test", files / "recordings")
    assert "the text hardly reads like English" in capsys.readouterr().err


def test_names_that_no_sentence_holds(monkeypatch, files, capsys):
    (files / "drugs.txt").write_text("Aspirin,drug\nIbuprofen,drug\n")
    options = ("--test", files / "recordings", "--entities", files / "drugs.txt")
    make(monkeypatch, files, *options)
    assert "no sentence holds a name of" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "nothing to test on"),
        (["--text", "utf16.txt", "--test", "recordings"], "utf16.txt:1: holds a zero"),
        (["--test", "recordings", "--synthesize", "3"], "not both"),
        (["--synthesize", "1", "--dev", "recordings"], "--dev needs --test"),
        (["--test", "empty"], "neither wav.scp nor transcripts"),
        (["--test", "none"], "call.txt: no recording .*; so with 1 more"),
        (["--test", "mute"], "a.wav: no a.txt with its words beside it"),
        (
            ["--text", "none", "--test", "recordings"],
            "none: a folder without the table",
        ),
        (["--text", "table.txt", "--test", "recordings"], "table.txt:2: a tab inside"),
        (["--synthesize", "0"], "--synthesize 0: a number from 1"),
        (["--entities", "list.csv", "--test", "recordings"], "an entity a line"),
        (["--entities", "list.txt", "--test", "recordings"], "list.txt:1: more than"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(
    monkeypatch, files, options, message
):
    (files / "empty").mkdir()
    (files / "none").mkdir()
    for name in ("call", "later"):
        (files / "none" / f"{name}.txt").write_text("hello")
    shutil.copytree(files / "recordings", files / "mute")
    shutil.copy(files / "recordings/call 1.wav", files / "mute/a.wav")
    (files / "table.txt").write_text("take two\n12\ttake three\n")
    (files / "utf16.txt").write_bytes("Take two.\n".encode("utf-16le"))
    (files / "list.csv").write_text("aspirin,drug\n")
    (files / "list.txt").write_text("aspirin\tdrug\tpain\n")
    monkeypatch.chdir(files)
    with pytest.raises(UserError, match=message):
        make(monkeypatch, files, *options)
    assert not (files / "egs2/medical").exists()


def test_listed_names_are_looked_for_whether_the_text_has_them_or_not(
    monkeypatch, files, caplog
):
    with (files / "notes.txt").open("a") as stream:
        stream.writelines(f"take pill number {i} now\n" for i in range(60))
    recipe = make(monkeypatch, files, "--entities", files / "drugs.txt",
                  "--test", files / "recordings")  # fmt: skip
    command = ["x", "mini", "--domain", "medical", "--source", recipe / "downloads",
               "--names", recipe / "downloads/names.txt", "--out", files / "data",
               ]  # fmt: skip
    monkeypatch.setattr("sys.argv", [str(word) for word in command])
    prepare_data.main()
    assert Phrases.of(files / "data/medical_text/train").phrases == [
        *("aspirin", "ibuprofen", "metamizole", "paracetamol", "paracetamol forte")
    ]
    (recipe / "downloads/names.txt").write_text("\u674e\nibuprofen\nДома Band\n")
    assert [name for name, _ in read_lexicon(recipe / "downloads/names.txt")] == [
        "ibuprofen"
    ]
    assert "2 names without a word" in caplog.text
    (recipe / "downloads/names.txt").write_text("\u674e\n")
    with pytest.raises(UserError, match=r"names\.txt:1: .*: no word in any line"):
        list(read_lexicon(recipe / "downloads/names.txt"))
    (recipe / "downloads/names.txt").write_text("a\tdrug\ttoo many\n")
    with pytest.raises(UserError, match=r"names\.txt:1"):
        prepare_data.main()
    (recipe / "downloads/names.txt").unlink()
    prepare_data.main()
    assert "metamizole" not in Phrases.of(files / "data/medical_text/train").phrases
