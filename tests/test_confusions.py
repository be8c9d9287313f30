import random

import jiwer
import pytest

from spft.adapt.confusions import MIN_COUNT, Confusions
from spft.bin import learn_confusions
from spft.errors import UserError

# "ph" is always heard as "f", a double letter written as one; else nothing is wrong.
PAIRS = [
    ("the photo of a phone", "the foto of a fone"),
    ("a dull day", "a dul day"),
    ("he had the map", "he had the map"),
]


def test_learns_and_draws_the_errors():
    confusions = Confusions.learn(PAIRS)
    assert confusions.written["ph"] == {"f": 2}
    assert confusions.seen["ph"] == 2 and confusions.seen["l"] == 2
    rng = random.Random(0)
    assert confusions.corrupt("the graph", 1.0, rng) == "the graf"
    assert confusions.corrupt("the graph", 0.0, rng) == "the graph"
    always = Confusions({"p": 5, "ph": 5}, {"p": {"": 5}, "ph": {"f": 5}})
    assert always.corrupt("the graph", 0.0, rng) == "the graph"
    drawn = [confusions.corrupt("the graph", 0.3, rng) for _ in range(2000)]
    assert drawn.count("the graf") / 2000 == pytest.approx(0.3, abs=0.04)


def test_context_decides_where_it_is_known():
    # A final e is silent, that of "men" is heard.
    pairs = [("made men", "mad men")] * MIN_COUNT
    confusions = Confusions.learn(pairs)
    assert confusions.corrupt("wade men", 1.0, random.Random(0)) == "wad men"


def test_inserted_letters_and_what_is_too_long():
    pairs = [("cat", "cart"), ("stop now", "now")] * MIN_COUNT
    confusions = Confusions.learn(pairs)
    assert confusions.corrupt("cat", 1.0, random.Random(0)) == "cart"
    assert not any("stop" in key for key in confusions.written)


def test_errors_are_as_frequent_as_the_recognisers():
    rng = random.Random(0)
    words = [f"{a}{b}e" for a in "bdfghlmn" for b in ("ai", "oa", "ee")]
    texts = [" ".join(rng.choices(words, k=8)) for _ in range(400)]
    heard = [t.replace("oa", "o" if i % 2 else "oa") for i, t in enumerate(texts)]
    confusions = Confusions.learn(zip(texts, heard, strict=True))
    drawn = [confusions.corrupt(text, 1.0, rng) for text in texts]
    assert jiwer.cer(texts, drawn) == pytest.approx(jiwer.cer(texts, heard), rel=0.15)


def test_command(tmp_path, monkeypatch, capsys):
    data, dump = tmp_path / "data" / "train", tmp_path / "dump"
    for folder, name, column in ((data, "text", 0), (dump / "train", "first_pass", 1)):
        folder.mkdir(parents=True)
        lines = [f"u{i} {pair[column]}\n" for i, pair in enumerate(PAIRS)]
        (folder / name).write_text("".join(lines))
    out = tmp_path / "confusions.json"
    command = ["x", "--data", str(data), "--dump", str(dump), "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    learn_confusions.main()
    # Of 44 letters two "ph" are two errors each, "ll" is one.
    assert "character error rate 0.114, " in capsys.readouterr().out
    assert Confusions.read(out).corrupt("a graph", 1.0, random.Random(0)) == "a graf"


def test_file(tmp_path):
    path = tmp_path / "confusions.json"
    Confusions.learn(PAIRS).write(path)
    again = Confusions.read(path)
    assert again.corrupt("photo", 1.0, random.Random(0)) == "foto"
    with pytest.raises(UserError, match="learn_confusions"):
        Confusions.read(tmp_path / "none.json")
    path.write_text("[]")
    with pytest.raises(UserError, match="no table of confusions"):
        Confusions.read(path)
