"""Phrases that are spelt alike, against a search through all of them."""

import random

import jiwer
import pytest

from spft.errors import UserError
from spft.search.phrases import Phrases

NAMES = ["the weeknd", "beyonce", "motorhead", "hey jude", "too poetic", "song"]


def naive(text, phrases, distance):
    """Each variant and its distance, by trying everything."""
    words, found = text.split(), {}
    for i in range(len(words)):
        for j in range(i + 1, len(words) + 1):
            heard = "".join(words[i:j])
            for phrase in phrases:
                said = phrase.replace(" ", "")
                longer = max(len(heard), len(said))
                errors = jiwer.process_characters(heard, said)
                edits = errors.substitutions + errors.insertions + errors.deletions
                variant = " ".join([*words[:i], phrase, *words[j:]])
                if edits <= distance * longer and variant != text:
                    share = edits / longer
                    found[variant] = min(share, found.get(variant, 1.0))
    return found


def test_what_was_heard_leads_to_what_was_said():
    phrases = Phrases(NAMES)
    assert phrases.variants("play the weekend", 1) == ["play the weeknd"]
    assert "play beyonce now" in phrases.variants("play be on c now", 5)
    assert "play motorhead" in phrases.variants("play motor head", 5)
    assert phrases.variants("", 5) == []
    name = "violence and the inner life of the last of us all"
    heard = name.replace("violence", "violins").replace("inner", "in a")
    assert Phrases([name]).variants(f"play {heard} now", 1) == [f"play {name} now"]
    assert Phrases([]).variants("play it", 5) == []


def test_known_names_stand_in_for_new_ones(tmp_path):
    phrases = Phrases(["hey jude", "song"], new=["the xx", "xx", "song"])
    assert set(phrases.stand_ins("play the xx by xx")) == {
        "play hey jude by hey jude",
        "play song by song",
    }
    for text in ("play hey jude", "song", ""):
        assert phrases.stand_ins(text) == [text]
    path = tmp_path / "phrases.txt"
    phrases.write(path)
    again = Phrases.read(path)
    assert vars(again).keys() == vars(phrases).keys()
    for kind in ("known", "new", "runs"):
        assert getattr(again, kind) == getattr(phrases, kind)
    assert "play the xx" in phrases.variants("play the x", 5)
    assert Phrases([], new=["xx"]).stand_ins("play xx") == ["play xx"]


def test_words_of_the_text_are_no_names(tmp_path):
    text = tmp_path / "text"
    text.write_text("a call the weather\n")
    phrases = Phrases.of(tmp_path).with_names({"zorblax", "call"}, met={"call"})
    assert phrases.runs == {"call", "the", "weather", "call the", "the weather",
                            "call the weather"}  # fmt: skip
    for said in ("call zorblax now", "call the weather"):
        assert phrases.stand_ins(said) == [said]  # there is no name to ask for
    named = Phrases(["hey jude"]).with_names({"zorblax", "will"}, met={"will"})
    assert named.stand_ins("will play zorblax") == ["will play hey jude"]
    phrases.write(tmp_path / "phrases.txt")
    assert Phrases.read(tmp_path / "phrases.txt").runs == phrases.runs


@pytest.mark.parametrize("seed", range(5))
def test_equals_trying_everything(seed):
    rng = random.Random(seed)
    alphabet = "abc"
    words = ["".join(rng.choices(alphabet, k=rng.randint(1, 4))) for _ in range(12)]
    phrases = [" ".join(rng.sample(words, rng.randint(1, 3))) for _ in range(15)]
    text = " ".join(rng.choices(words, k=4))
    expected = naive(text, phrases, 0.4)
    found = Phrases(phrases, distance=0.4).variants(text, 1000)
    assert set(found) == set(expected)
    distances = [expected[variant] for variant in found]
    assert distances == sorted(distances)
    assert Phrases(phrases, distance=0.4).variants(text, 3) == found[:3]


def test_of_a_large_text_the_commonest(tmp_path, monkeypatch):
    monkeypatch.setattr("spft.search.phrases.MAX_PHRASES", 3)
    (tmp_path / "text").write_text("a stop now\nb stop now\nc play\nd stop\ne play\n")
    assert Phrases.of(tmp_path).runs == {"stop", "stop now", "now"}


def test_of_a_directory(tmp_path):
    with pytest.raises(UserError, match="text"):
        Phrases.of(tmp_path)
    (tmp_path / "text").write_text("a play hey jude\nb stop\n")
    assert Phrases.of(tmp_path).phrases == [
        *("hey", "hey jude", "jude", "play", "play hey", "play hey jude", "stop")
    ]
    (tmp_path / "entities").write_text("a\t[]\nb\t[]\n")
    assert "play hey" in Phrases.of(tmp_path).phrases, "no entity: all phrases"
    (tmp_path / "entities").write_text(
        'a\t[{"type": "track", "text": "hey jude", "start": 1, "end": 3}]\nb\t[]\n'
    )
    assert Phrases.of(tmp_path).phrases == ["hey jude"]
    (tmp_path / "names.txt").write_text("Stop\ttrack\nThe XX\tartist\nHey Jude\n")
    found = Phrases.of(tmp_path)
    assert found.phrases == ["hey jude", "stop", "the xx"] and found.new == {"the xx"}
    (tmp_path / "entities").unlink()
    assert Phrases.of(tmp_path).phrases == found.phrases
