import random
import re

import pytest

from spft.data.normalize import dropped_letters, normalize, spell_out

CASES = {
    "It's 7:30pm, play U2 & Beyoncé!": "it's seven thirty p m play u two and beyonce",
    "rock ’n’ roll “live” – goin'": "rock n roll live goin",
    "R&B, lo-fi AC/DC": "r and b lo fi ac dc",
    "P!nk and Ke$ha": "pink and kesha",
    "1984": "nineteen eighty four",
    "in 2005 or 1905": "in two thousand and five or nineteen oh five",
    "the 80's, '90s and 2000s": "the eighties nineties and two thousands",
    "1st 2nd 23rd": "first second twenty third",
    "3pm, 9 a.m., seven am": "three p m nine a m seven a m",
    "I am": "i am",
    "7:05 or 7:00 or 19:00": "seven oh five or seven o'clock or nineteen hundred",
    'five o"clock': "five o'clock",
    "$5.30, £1 or €0.05": "five dollars and thirty cents one pound or five cents",
    "$1.5 million": "one point five million dollars",
    "4.25%": "four point two five percent",
    "5.30": "five point three zero",
    "1,250,000": "one million two hundred and fifty thousand",
    "call 415-555-0199": "call four one five five five five zero one nine nine",
    "½ or 2½ or 3/4": "one half or two and one half or three quarters",
    "-5 °C": "minus five degrees celsius",
    "March 3d": "march third",
    "a 3D movie": "a three d movie",
    "Mr. Smith": "mister smith",
    "MR of the heart, Dr. Lee": "m r of the heart doctor lee",
    "left on Sunset Dr., then ask the Dr.": "left on sunset drive then ask the doctor",
    "(415) 555-0199, 415.555.0199, 555-4000": "four one five five five five zero one "
    "nine nine four one five five five five zero one nine nine five five five four "
    "zero zero zero",
    "50 µg if ≥ 7": "fifty mcg if at least seven",
    "https://www.example.com/a": "www dot example dot com a",
    "1" * 31 + "st": "one " * 31 + "st",
    "Łódź, Straße, Æon, Ħamrun": "lodz strasse aeon hamrun",
    "日本": "",
    "10am-2pm, 7:30-9": "ten a m two p m seven thirty nine",
    "$5-10 in the 1990s-2000": "five dollars ten in the nineteen nineties two thousand",
    "1-1/2 cups at (-5)": "one and one half cups at minus five",
    "on 3/4/2021 and 1/2/2025": "on three four twenty twenty one and one two twenty "
    "twenty five",
    "Advil™ No.1, v1.5 and 1.2.3": "advil no one v one point five and one two three",
    "5€, 1.50 £ or 5$": "five euros one pound and fifty pence or five dollars",
    "Great!Buy": "great buy",
    "7:00 o'clock": "seven o'clock",
}


@pytest.mark.parametrize(("raw", "expected"), CASES.items())
def test_spells_out(raw, expected):
    assert normalize(raw) == expected


def test_output_is_normal_and_stable_for_random_text():
    pieces = [*"abcm '\".,:!?$£%&@#-/°0123456789½éß\t\n"]
    pieces += ["am ", "pm ", "seven ", "mr", "st ", "th ", "'s ", "march ", "o'clock "]
    words = re.compile(r"([a-z]+('[a-z]+)*( [a-z]+('[a-z]+)*)*)?")
    rng = random.Random(0)
    for _ in range(3000):
        raw = "".join(rng.choices(pieces, k=rng.randint(1, 14)))
        once = normalize(raw)
        assert words.fullmatch(once), raw
        assert normalize(once) == once, raw


def test_abbreviations_are_spelled_for_a_voice():
    def spell(text):
        return spell_out(text, normalize(text))

    assert spell("Fly to NYC at 5 PM") == "fly to n.y.c. at five p m"
    assert spell("the DJ's World War II EP") == "the dj's world war ii e.p."
    assert spell("Play THE song, DON'T stop") == "play the song don't stop"
    assert spell("Play ABBA") == "play abba"
    assert spell("NO, I want a ONE way ticket") == "no i want a one way ticket"
    assert spell("from LA or la la land") == "from l.a. or la la land"
    assert spell("FLY TO NYC") == "fly to nyc"


def test_letters_that_are_dropped():
    assert dropped_letters("Beyoncé & Sigur Rós’ ½ 3°C – Ħamrun™") == ""
    assert dropped_letters("Молчат Doma") == "молчат"
