"""Sentences with listed names."""

import pytest

from spft.bin import add_names
from spft.data.entities import Entity, check_span
from spft.data.kaldi import read_data_dir, write_data_dir
from spft.data.slots import sentences_of_names
from spft.data.utterance import Utterance
from spft.errors import UserError
from spft.search.phrases import Phrases

TEXT = [
    Utterance("a", "play hey jude by queen", None, None, (
        Entity("track", "hey jude", 1, 3), Entity("artist", "queen", 4, 5))),
    Utterance("b", "put on yesterday", None, None, (
        Entity("track", "yesterday", 2, 3),)),
    Utterance("c", "stop", None, None, ()),
]  # fmt: skip


def test_a_name_takes_the_place_of_another_of_its_kind():
    names = [("Hey Jude", "track"), ("ABBA", "artist"), ("waterloo", "track"),
             ("rome", "city")]  # fmt: skip
    made = {u.entities[-1].text: u for u in sentences_of_names(TEXT, names[:2], [])}
    assert [u.text for u in made.values()] == ["play hey jude by abba"]
    made = sentences_of_names(TEXT, names, ["put on waterloo"])
    assert len(made) == 3 and len({u.id for u in made}) == 3
    texts = {u.text for u in made}
    assert "play waterloo by queen" in texts  # the other is an evaluation sentence
    assert any("rome" in text.split() for text in texts)
    for utterance in made:
        for entity in utterance.entities:
            check_span(entity, utterance.text, "here")


def test_names_that_every_sentence_would_leak():
    names = [("abba", "artist")]
    assert not sentences_of_names(TEXT, names, ["play hey jude by abba"])


def test_where_no_entity_is_known():
    (made,) = sentences_of_names([TEXT[2]], [("hey jude", "entity")], [])
    assert made.text == "hey jude" and made.entities == (
        Entity("entity", "hey jude", 0, 2),
    )


def test_the_command(tmp_path, monkeypatch):
    text, out = tmp_path / "train", tmp_path / "lm"
    write_data_dir(text, TEXT)
    write_data_dir(tmp_path / "dev", [Utterance("d", "put on waterloo")])
    command = ["x", "--text", str(text), "--not-in", str(tmp_path / "dev")]
    monkeypatch.setattr("sys.argv", [*command, "--out", str(out)])
    with pytest.raises(UserError, match="names.txt: not found"):
        add_names.main()
    (text / "names.txt").write_text("Waterloo\ttrack\nrome\n")
    add_names.main()
    made = read_data_dir(out, audio=False)
    assert len(made) == 5 and set(TEXT) <= set(made)
    assert {"waterloo", "rome", "queen"} <= set(Phrases.of(out).phrases)
    (text / "entities").unlink()  # then the list says what is a name
    (text / "names.txt").write_text("Waterloo\ttrack\nYesterday\ttrack\n")
    monkeypatch.setattr("sys.argv", [*command[:3], "--out", str(out)])
    add_names.main()
    assert "name-waterloo put on waterloo\n" in (out / "text").read_text()
