"""Plain words in the written form of a transcript."""

import pytest

from spft.data.normalize import normalize
from spft.data.written_form import written_form


@pytest.mark.parametrize(
    "text, like, wanted",
    [
        ("play queens now", "Play cleans, now.", "Play queens, now."),
        ("add lauryn hill", "Add Lauren Hill.", "Add Lauryn Hill."),
        ("i'll have two tacos", "I'll have 2 tacos.", "I'll have 2 tacos."),
        ("set it for five dollars", "Set it for $5.", "Set it for $5."),
        ("set it for nine dollars", "Set it for $5.", "Set it for nine dollars."),
        ("play songs by u two", "Play songs by U2, please!", "Play songs by U2!"),
        ("the end now", "The end.", "The end now."),
        ("and then we play it", "Then we play it.", "And then we play it."),
        ("i'll have tacos", "Have tacos.", "I'll have tacos."),
        ("can i have two", "Can have two?", "Can I have two?"),
        ("it is seven thirty", "It's 7:30?", "It is 7:30?"),
        ("so i'm in", "I'm in.", "So I'm in."),
        ("play bee on say now", "Play Beyonce now.", "Play Bee On Say now."),
        ("call dr who", "Call Dr. Who?", "Call Dr. Who?"),
        ("play", "...", "play..."),
        ("play", "", "play"),
        ("", "Play.", ""),
    ],
)
def test_case_and_punctuation_are_those_of_the_transcript(text, like, wanted):
    assert written_form(text, like) == wanted


@pytest.mark.parametrize(
    "like",
    [
        "Meet me at 7 am.",
        "It costs $5 million.",
        "Take 2 1/2 cups - please!",
        "May 3rd or 3d?",
        "I'd play U2, Dr. Who & it.",
        "Call 555 123 4567, now.",
    ],
)
def test_a_transcript_stays_as_it_is(like):
    assert written_form(normalize(like), like) == like


def test_words_stay_as_they_are():
    likes = ["It's 7:30 p.m., Dr. Who & U2!", "two", "…", "no. no no"]
    texts = ["it's seven thirty p m doctor who", "who and u two two", "no no"]
    for text in texts:
        for like in likes:
            assert normalize(written_form(text, like)) == text
