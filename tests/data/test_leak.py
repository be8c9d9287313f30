import pytest

from spft.data.entities import Entity
from spft.data.leak import check_leak, find_leaks, remove_leaks
from spft.data.split import fraction, hold_out, sample, unique
from spft.data.stats import count
from spft.data.utterance import Utterance
from spft.errors import UserError

EVALUATION = ["stop the music", "play the new album by nina simone"]


@pytest.mark.parametrize(
    ("line", "leaks"),
    [
        ("stop the music", True),
        ("Stop the music!", True),
        ("please stop the music", False),  # short sentences may stand in longer ones
        ("play the new album by nina simone", True),
        ("please play the new album by nina simone now", True),
        ("play the new album by nina", False),
        ("replay the new album by nina simone", False),
        ("", False),
    ],
)
def test_find_leaks(line, leaks):
    assert bool(find_leaks({"a": line}, EVALUATION)) == leaks


def test_check_names_both_places(tmp_path):
    train, test = tmp_path / "train", tmp_path / "test"
    train.write_text("a play a song\nb so stop the music at five o'clock please\n")
    test.write_text("x hello\ny stop the music at five o'clock\n")
    with pytest.raises(UserError, match=r"train:2: .*test:2; remove .*1 such"):
        check_leak(train, [test])
    train.write_text("a play a song\n")
    check_leak(train, [test])


def test_remove_counts():
    train = [Utterance("a", "stop the music"), Utterance("b", "play on")]
    evaluation = [Utterance("x", "stop the music"), Utterance("y", None)]
    assert remove_leaks(train, evaluation) == ([train[1]], 1)


def test_hold_out_is_stable_and_keeps_texts_together():
    texts = [f"sentence {i % 400}" for i in range(800)]
    made = [Utterance(str(i), text) for i, text in enumerate(texts)]
    kept, held = hold_out(made, 0.25)
    assert 0.18 < len(held) / 800 < 0.32
    assert not {u.text for u in kept} & {u.text for u in held}
    assert set(hold_out(reversed(made), 0.25)[1]) == set(held)
    again, more = hold_out(kept, 0.25, "second ")
    assert again
    assert 0.18 < len(more) / len(kept) < 0.32
    assert len(unique(made)) == 400
    assert sample(made, 10) == sorted(
        sorted(made, key=lambda u: fraction(u.id))[:10], key=lambda u: u.id
    )


def test_stats_count_unseen_entities():
    seen, unseen = Entity("artist", "nina simone"), Entity("artist", "abba")
    test = [Utterance("a", "x y", entities=(seen, unseen))]
    adaptation = [Utterance("b", "play nina simone")]
    stats = count(test, adaptation)
    assert (stats.words, stats.entities["artist"], stats.unseen) == (2, 2, 0.5)
    assert "2 entities (artist 2), 50.0 % unseen" in str(stats)
