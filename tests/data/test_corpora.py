"""Readers on small corpora written here in the official layouts."""

import json

import numpy as np
import pytest
import soundfile

from spft.data.corpora import librispeech, mini, sgd, slurp, snips, speech_to_intent
from spft.data.corpora.files import files_in
from spft.data.entities import Entity
from spft.data.spans import locate
from spft.errors import UserError


def write_audio(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(3200) / 5), 16000)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# locate


@pytest.mark.parametrize(
    ("text", "part", "expected"),
    [
        ("Play Beyoncé!", "Beyoncé", ("beyonce", 1, 2)),
        ("Play U2 now", "U2", ("u two", 1, 3)),
        ("Put on Madonna's song", "Madonna", ("madonna's", 2, 3)),
        ("At 7:30 pm please", "7:30 pm", ("seven thirty p m", 1, 5)),
        ("On March 3d", "3d", ("third", 2, 3)),  # spelled by what stands before it
        ("Send $20 to Tom", "$20", ("twenty dollars", 1, 3)),
        ("Play  ABBA .", " ABBA ", ("abba", 1, 2)),
    ],
)
def test_locate(text, part, expected):
    start = text.index(part)
    _, entities, lost = locate(text, [(start, start + len(part), "x")])
    assert entities == [Entity("x", *expected)]
    assert lost == 0


def test_locate_counts_what_is_not_on_words():
    assert locate("play - now", [(5, 6, "x")]) == ("play now", [], 1)


# LibriSpeech


@pytest.fixture
def libri(tmp_path):
    root = tmp_path / "LibriSpeech" / "dev-clean"
    for speaker, suffix in (("11", ".flac"), ("22", ".mp3"), ("33", ".wav")):
        folder = root / speaker / "7"
        for i in range(2):
            write_audio(folder / f"{speaker}-7-000{i}{suffix}")
        lines = [f"{speaker}-7-000{i} HE'S NUMBER ONE\n" for i in range(2)]
        (folder / f"{speaker}-7.trans.txt").write_text("".join(lines))
    return tmp_path


def test_librispeech(libri):
    utterances = librispeech.read_librispeech(libri)
    sets = librispeech.split_speakers(utterances, ["22"], ["33"])
    assert {name: [u.id for u in part] for name, part in sets.items()} == {
        "train": ["11-7-0000", "11-7-0001"],
        "dev": ["22-7-0000", "22-7-0001"],
        "test": ["33-7-0000", "33-7-0001"],
    }
    assert {u.text for u in utterances} == {"he's number one"}
    assert utterances[0].audio.name == "11-7-0000.flac"


def test_evaluation_sets_are_for_no_training(libri):
    root = libri / "LibriSpeech"
    (root / "dev-clean").rename(root / "test-other")
    with pytest.raises(UserError, match="no \\*.trans.txt"):
        librispeech.read_librispeech(libri)
    assert librispeech.read_librispeech(root / "test-other")  # named on purpose


def test_librispeech_faults(libri):
    utterances = librispeech.read_librispeech(libri)
    with pytest.raises(UserError, match="in both dev and test: 22"):
        librispeech.split_speakers(utterances, ["22"], ["22"])
    with pytest.raises(
        UserError, match="not in the corpus: 99 .*; others by .* 11 22 33"
    ):
        librispeech.split_speakers(utterances, ["99"], ["22"])
    next(libri.rglob("22-7-0001.mp3")).unlink()
    with pytest.raises(UserError, match=r"22-7.trans.txt:2: text without audio"):
        librispeech.read_librispeech(libri)
    next(libri.rglob("11-7.trans.txt")).write_text("11-7-0000\n")
    with pytest.raises(UserError, match=r"11-7.trans.txt:1: not `speaker"):
        librispeech.read_librispeech(libri)
    with pytest.raises(UserError, match="set LIBRISPEECH"):
        librispeech.read_librispeech(libri / "LibriSpeech" / "dev-clean" / "11" / "x")


# SNIPS


def chunks(*parts):
    data = [{"text": p} if isinstance(p, str) else p for p in parts]
    return {"data": data}


@pytest.fixture
def snips_root(tmp_path):
    folder = tmp_path / "2017-06-custom-intent-engines" / "PlayMusic"
    artist = {"text": "Beyoncé", "entity": "artist"}
    train = [chunks("Play ", artist, f" number {i}.") for i in range(60)]
    train += [chunks("stop"), chunks("this is shit"), chunks("Play song 1")]
    write_json(folder / "train_PlayMusic_full.json", {"PlayMusic": train})
    validate = [chunks(f"Play song {i}") for i in range(20)]
    write_json(folder / "validate_PlayMusic.json", {"PlayMusic": validate})
    return tmp_path


def test_snips(snips_root):
    sets = snips.read_snips(snips_root, ["PlayMusic"])
    adaptation = {u.text: u for u in sets["text/train"] + sets["text/dev"]}
    assert len(adaptation) == 61  # neither the rude nor the leaking sentence
    assert "play song one" not in adaptation
    first = adaptation["play beyonce number zero"]
    assert first.entities == (Entity("artist", "beyonce", 1, 2),)
    assert sets["dev"]
    assert sets["test"]
    assert len(sets["dev"] + sets["test"]) == 20
    rude = snips.read_snips(snips_root, ["PlayMusic"], keep_rude=True)
    assert len(rude["text/train"] + rude["text/dev"]) == 62


def test_snips_of_a_size_takes_from_the_training_files(snips_root):
    sets = snips.read_snips(snips_root, ["PlayMusic"], sizes=(10, 25))
    assert [len(sets["dev"]), len(sets["test"])] == [10, 25]
    texts = {name: {u.text for u in sets[name]} for name in sets}
    evaluation = texts["dev"] | texts["test"]
    assert len(evaluation) == 35
    assert not evaluation & (texts["text/train"] | texts["text/dev"])
    few = snips.read_snips(snips_root, ["PlayMusic"], sizes=(3, 5))
    assert [len(few["dev"]), len(few["test"])] == [3, 5]


def test_snips_mixed_encodings(snips_root, caplog):
    path = next(snips_root.rglob("train_*_full.json"))
    latin, utf8 = "Röyksopp".encode("latin-1"), "Röyksopp".encode()
    text = b'{"PlayMusic": [{"data": [{"text": "%s"}]}, {"data": [{"text": "x %s"}]}]}'
    path.write_bytes(text % (latin, utf8))
    made = snips.read_file(path, "PlayMusic")
    assert [u.text for u in made] == ["royksopp", "x royksopp"]
    assert "not all UTF-8; the rest is read as Latin-1" in caplog.text


def test_snips_faults(snips_root):
    with pytest.raises(UserError, match=r"no GetWeather/train.*set SNIPS"):
        snips.read_snips(snips_root, ["GetWeather"])
    path = next(snips_root.rglob("train_*_full.json"))
    write_json(path, {"PlayMusic": [{"data": [{"entity": "artist"}]}]})
    with pytest.raises(UserError, match=r"_full.json: sentence 1 of PlayMusic"):
        snips.read_snips(snips_root, ["PlayMusic"])
    path.write_text('{"PlayMusic": [\n{"data"}\n]}')
    with pytest.raises(UserError, match=r"_full.json:2: not JSON"):
        snips.read_snips(snips_root, ["PlayMusic"])


# SGD


def dialogue(key, *turns, service="Restaurants_1"):
    made = []
    for text, part in turns:
        slots = [{"slot": "no_span", "value": "x"}]
        if part:
            start = text.index(part)
            end = start + len(part)
            slots = [{"slot": "city", "start": start, "exclusive_end": end}]
        frames = [{"slots": slots}]
        made.append({"speaker": "USER", "utterance": text, "frames": frames})
        made.append({"speaker": "SYSTEM", "utterance": "Okay.", "frames": []})
    return {"dialogue_id": key, "services": [service], "turns": made}


@pytest.fixture
def sgd_root(tmp_path):
    train = [dialogue(f"1_{i}", (f"Find {i} in Rome.", "Rome")) for i in range(60)]
    train += [dialogue("1_99", ("Eat in San José!", "San José"), ("Yes.", None))]
    write_json(tmp_path / "train" / "dialogues_003.json", train)
    for part in ("dev", "test"):
        made = dialogue("1_0", ("Eat in San José", "San José"), ("Yes.", None))
        other = dialogue("2_0", (f"Fly to {part}", part), service="Flights_1")
        write_json(tmp_path / part / "dialogues_001.json", [made, other])
    return tmp_path


def test_sgd(sgd_root):
    sets = sgd.read_sgd(sgd_root)
    adaptation = {u.text for u in sets["text/train"] + sets["text/dev"]}
    assert "yes" in adaptation  # no test sentence: it has no entity
    assert "eat in san jose" not in adaptation
    assert len(adaptation) == 61
    first = sets["test"][0]
    assert (first.id, first.text) == ("sgd-test-1_0-00", "eat in san jose")
    assert first.entities == (Entity("city", "san jose", 2, 4),)
    assert [u.text for u in sets["dev"]] == ["fly to dev"]  # test has the other too
    assert len(sgd.read_sgd(sgd_root, sizes=(1, 1))["test"]) == 1
    flights = sgd.read_part(sgd_root / "dev", ["Flights"])
    assert [u.text for u in flights] == ["fly to dev"]


def test_sgd_faults(sgd_root):
    path = sgd_root / "test" / "dialogues_001.json"
    write_json(path, [{"dialogue_id": "9_9", "services": []}])
    with pytest.raises(UserError, match=r"dialogues_001.json: dialogue '9_9' lacks"):
        sgd.read_sgd(sgd_root)
    path.unlink()
    with pytest.raises(UserError, match=r"test: no dialogues_.*set SGD"):
        sgd.read_sgd(sgd_root)


# SLURP


def slurp_row(number, sentence, *spans):
    return {
        "slurp_id": number,
        "sentence": sentence,
        "tokens": [{"surface": s} for s in sentence.replace("'s", " 's").split()],
        "entities": [{"span": span, "type": "person"} for span in spans],
        "recordings": [{"file": f"audio-{number}{m}.flac"} for m in ("", "-headset")],
    }


@pytest.fixture
def slurp_root(tmp_path):
    folder = tmp_path / "dataset" / "slurp"
    devel = [slurp_row(i, f"number {i} what's up") for i in range(200)]
    write_jsonl(folder / "devel.jsonl", devel)
    row = slurp_row(900, "where's ann lee's house", [2, 3])
    write_jsonl(folder / "test.jsonl", [row, slurp_row(901, "number 7 what's up")])
    return tmp_path


def test_slurp(slurp_root):
    sets = slurp.read_slurp(slurp_root)
    assert all(sets.values())
    assert len(sets["text/train"] + sets["text/dev"] + sets["dev"]) == 199
    assert sets["test"][0].entities == (Entity("person", "ann lee's", 1, 3),)
    assert sets["test"][0].id == "slurp-test-000900"
    rows = [slurp_row(i, f"so {i}") for i in range(60)]
    write_jsonl(slurp_root / "dataset/slurp/train.jsonl", rows)
    sets = slurp.read_slurp(slurp_root)
    assert len(sets["dev"]) == 199  # test has the other too
    assert len(sets["text/train"] + sets["text/dev"]) == 60
    write_jsonl(slurp_root / "dataset/slurp/test.jsonl", [slurp_row(9, "so", [])])
    with pytest.raises(UserError, match="test.jsonl:1: entity or token not understood"):
        slurp.read_slurp(slurp_root)


def test_slurp_audio(slurp_root, tmp_path):
    path = slurp_root / "dataset/slurp/test.jsonl"
    audio = tmp_path / "audio"
    for name in ("audio-900", "audio-900-headset", "audio-901"):
        write_audio(audio / "slurp_real" / f"{name}.flac")
    made = slurp.read_file(path, audio)
    assert [u.audio.stem for u in made] == ["audio-900-headset", "audio-901"]
    (audio / "slurp_real" / "audio-901.flac").unlink()
    with pytest.raises(UserError, match=r"test.jsonl:2: .*set SLURP_AUDIO"):
        slurp.read_file(path, audio)


def test_slurp_faults(slurp_root):
    path = slurp_root / "dataset/slurp/test.jsonl"
    path.write_text('{"slurp_id": 1}\n')
    with pytest.raises(UserError, match=r"test.jsonl:1: no sentence, tokens"):
        slurp.read_slurp(slurp_root)
    write_jsonl(path, [slurp_row(1, "a"), slurp_row(2, "b", [5])])
    with pytest.raises(UserError, match=r"test.jsonl:2: entity or token"):
        slurp.read_slurp(slurp_root)
    with pytest.raises(UserError, match="set SLURP"):
        slurp.read_slurp(slurp_root / "nowhere")


# speech-to-intent


@pytest.fixture
def orders(tmp_path):
    data = tmp_path / "data"
    labels = {}
    for i in range(40):
        slots = {"size": "12 ounce", "sugarAmount": " brown sugar", "roast": ""}
        labels[f"u{i:02d}.wav"] = {"intent": "orderDrink", "slots": slots}
        write_audio(data / "speech" / "clean" / f"u{i:02d}.flac")
    write_json(data / "label" / "label.json", labels)
    (data / "watson").mkdir()
    text = "".join(f"Get me {i} lattes\n" for i in range(60))
    (data / "watson" / "corpus.txt").write_text(text)
    return tmp_path


def test_speech_to_intent(orders):
    sets = speech_to_intent.read_speech_to_intent(orders)
    assert all(sets.values())
    assert len(sets["dev"] + sets["test"]) == 40
    first = sets["test"][0]
    assert first.text is None
    assert first.entities == (
        Entity("size", "twelve ounce"),
        Entity("sugarAmount", "brown sugar"),
    )
    assert len(sets["text/train"] + sets["text/dev"]) == 60


def test_speech_to_intent_faults(orders):
    (orders / "data/speech/clean/u01.flac").unlink()
    with pytest.raises(UserError, match=r"label.json:\d+: label without audio: no u01"):
        speech_to_intent.read_speech_to_intent(orders)
    write_json(orders / "data/label/label.json", {"a.wav": {"intent": "x"}})
    with pytest.raises(UserError, match=r"label.json:2: 'a.wav' has no slots"):
        speech_to_intent.read_speech_to_intent(orders)
    with pytest.raises(UserError, match="set SPEECH_TO_INTENT"):
        speech_to_intent.read_speech_to_intent(orders / "nowhere")


# embedded corpora


def test_mini(tmp_path):
    span = {"type": "artist", "text": "abba", "start": 1, "end": 2}
    rows = [{"id": f"a{i}", "text": "play abba" + " on" * i} for i in range(60)]
    write_jsonl(tmp_path / "adapt.jsonl", [r | {"entities": [span]} for r in rows])
    spoken = [{"id": "s-1", "text": "stop it", "speaker": "s", "rate": 1.1}]
    for part in ("dev", "test"):
        write_jsonl(tmp_path / f"{part}.jsonl", spoken)
    with pytest.raises(UserError, match=r"dev.jsonl:1: text without audio"):
        mini.read_mini(tmp_path)
    write_audio(tmp_path / "audio" / "s-1.ogg")
    sets = mini.read_mini(tmp_path)
    assert all(sets.values())
    assert len(sets["text/train"] + sets["text/dev"]) == 60
    assert sets["dev"][0].speaker == "s"
    assert sets["text/train"][0].entities == (Entity("artist", "abba", 1, 2),)
    write_jsonl(tmp_path / "train.jsonl", spoken)
    assert set(mini.read_mini(tmp_path)) == {"train", "dev", "test"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a"}, "x.jsonl:2: no text"),
        ({"id": "a", "text": "Play 2"}, "x.jsonl:2: 'Play 2' is not normalised"),
        (
            {"id": "a", "text": "b", "entities": [{"type": "t", "text": "c"}, 1]},
            "x.jsonl:2: an entity is",
        ),
        (
            {
                "id": "a",
                "text": "b",
                "entities": [{"type": "t", "text": "b", "start": 1, "end": 2}],
            },
            "x.jsonl:2: span 1:2 .* outside",
        ),
    ],
)
def test_mini_faults(tmp_path, row, message):
    write_jsonl(tmp_path / "x.jsonl", [{"id": "ok", "text": "fine"}, row])
    with pytest.raises(UserError, match=message):
        mini.read_file(tmp_path / "x.jsonl", audio=False)


def test_folders_that_are_links_are_read_once(tmp_path):
    for name in ("elsewhere", "corpus"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.wav").touch()
    (tmp_path / "corpus/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "corpus")
    found = [path.name for path in files_in(tmp_path / "corpus")]
    assert found == ["elsewhere.wav", "corpus.wav"]  # the former by its first link
