from spft.bin.demo import marked, table
from spft.data.own_domain import Lexicon
from spft.speech2text import Transcript


def test_what_differs_from_the_baseline_is_marked():
    assert marked(["play", "hey", "you"], ["play", "hey", "jude", "now"]) == (
        "play hey <mark>jude now</mark>"
    )
    assert marked(["stop"], ["stop"]) == "stop"


def test_the_table_has_the_baseline_first_and_escapes():
    found = {
        "music": [Transcript("play jude", -1.5, {})],
        "<b>": [],
        "base": [Transcript("play you", -2.0, {})],
    }
    names = Lexicon([("Jude", "track"), ("you", "track")])
    page = table(found, "base", names)
    assert page.index(">base<") < page.index(">music<")
    assert "<td>play <mark>jude</mark></td>" in page and "-1.50" in page
    assert "<td><mark>jude (track)</mark></td>" in page
    assert "<td>you (track)</td>" in page  # the baseline's own: nothing new
    assert "&lt;b&gt;" in page
