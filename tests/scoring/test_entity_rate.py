import json

import pytest

from spft.data.entities import Entity
from spft.scoring.entity import (
    judge_entities,
    most_like,
    summarize,
    write_entity_scores,
)


def words(text):
    return tuple(text.split())


def judge(ref, hyp, entities, adaptation=None):
    lines = None if adaptation is None else [words(line) for line in adaptation]
    return judge_entities(
        None if ref is None else {"u": words(ref)},
        {"u": words(hyp)},
        {"u": entities},
        lines,
    )


@pytest.mark.parametrize(
    ("hyp", "right", "found"),
    [
        ("play hey jude now", True, "hey jude"),
        ("play the hey jude right now", True, "hey jude"),  # insertions around it
        ("play hey the jude now", False, "hey the jude"),  # insertion inside
        ("play hey dude now", False, "hey dude"),
        ("play jude now", False, "jude"),
        ("play now", False, ""),
    ],
)
def test_span(hyp, right, found):
    (item,) = judge("play hey jude now", hyp, [Entity("track", "hey jude", 1, 3)])
    assert item.right is right
    assert item.found == words(found)


def test_span_at_both_ends():
    entities = [Entity("artist", "abba", 0, 1), Entity("track", "sos", 2, 3)]
    judged = judge("abba plays sos", "x abba plays sos y", entities)
    assert [item.right for item in judged] == [True, True]


@pytest.mark.parametrize(
    ("hyp", "right"),
    [
        ("one latte and one latte", [True, True]),
        ("one latte and tea", [True, False]),
        ("tea", [False, False]),
    ],
)
def test_values_use_each_occurrence_once(hyp, right):
    judged = judge(None, hyp, [Entity("drink", "latte"), Entity("drink", "latte")])
    assert [item.right for item in judged] == right


def test_values_share_no_words_and_longer_ones_choose_first():
    entities = [Entity("city", "york"), Entity("city", "new york")]
    assert [i.right for i in judge(None, "to new york", entities)] == [False, True]
    both = judge(None, "from york to new york", entities)
    assert [item.right for item in both] == [True, True]


def test_value_must_be_whole_words_in_a_row():
    assert not judge(None, "hey my jude", [Entity("t", "hey jude")])[0].right
    assert not judge(None, "abbatoir", [Entity("t", "abba")])[0].right
    assert most_like(words("hey jude"), words("play hay dude now")) == words("hay dude")
    assert most_like(words("the rolling stones band"), words("stone")) == ("stone",)
    assert most_like(words("hey jude"), ()) == ()


def test_seen_and_unseen_are_counted_apart(tmp_path):
    entities = [
        Entity("artist", "abba", 1, 2),
        Entity("track", "hey jude", 2, 4),
        Entity("track", "jude law", 3, 5),
    ]
    judged = judge(
        "play abba hey jude law",
        "play abba hey dude law",
        entities,
        ["songs of abba please", "hey jude", "jude", "law and jude"],
    )
    assert [item.seen for item in judged] == [True, True, False]
    summary = write_entity_scores(judged, ["u"], tmp_path)
    assert summary["eer"] == pytest.approx(200 / 3)
    assert summary["seen"] == {"entities": 2, "errors": 1, "eer": 50.0}
    assert summary["unseen"] == {"entities": 1, "errors": 1, "eer": 100.0}
    assert summary["by_type"]["artist"]["eer"] == 0
    assert summary["by_type"]["track"]["entities"] == 2
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["utterances"] == {"u": [2, 3]}
    rows = (tmp_path / "errors.tsv").read_text().splitlines()
    assert rows[1:] == [
        "u\ttrack\they jude\they dude\tseen",
        "u\ttrack\tjude law\tdude law\tunseen",
    ]
    table = (tmp_path / "result.txt").read_text()
    assert "|Sum/Avg|3|2|66.7|2|1|50.0|1|1|100.0|" in table
    assert "3 entities judged by their span" in table


def test_without_adaptation_text_nothing_is_seen_or_unseen():
    summary = summarize(judge("a b", "a b", [Entity("x", "b", 1, 2)]))
    assert summary["seen"]["eer"] is summary["unseen"]["eer"] is None
    assert summary["eer"] == 0
    assert summarize([])["eer"] is None
