"""Text normalisation: one function for training text, references and hypotheses.

``normalize("It's 7:30pm, play U2 & Beyoncé!")`` gives
``it's seven thirty p m play u two and beyonce``.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable

from num2words import num2words

# Letters that Unicode's decomposition leaves alone.
_LETTERS = str.maketrans(
    {
        **dict.fromkeys("‘’‛`´ʼ′", "'"),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **{"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d"},
        **{"þ": "th", "ħ": "h", "ı": "i", "º": "o", "ª": "a"},
        **{"\u00ad": "", "\u200b": "", "™": "", "℠": ""},
        **{"≥": " at least ", "≤": " at most ", "±": " plus or minus "},
    }
)
_MONTHS = (
    "january|february|march|april|may|june|july|august|september|october|november"
    "|december"
)
_MONEY = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
}
_FRACTIONS = {
    ("1", "2"): "one half",
    ("1", "3"): "one third",
    ("2", "3"): "two thirds",
    ("1", "4"): "one quarter",
    ("3", "4"): "three quarters",
}
_ABBREVIATIONS = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
_HOURS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty"
    "|thirty|forty|fifty|o'clock"
)
_NUMBER = r"\d{1,3}(?:,\d{3})+|\d+"


def _digits(digits: str) -> str:
    return " ".join(num2words(int(digit)) for digit in digits)


def _cardinal(digits: str) -> str:
    digits = digits.replace(",", "")
    # Codes and telephone numbers are read digit by digit.
    if len(digits) > 6 and not digits.endswith("000") or digits[0] == "0":
        return _digits(digits)
    return num2words(int(digits)) if len(digits) <= 15 else _cardinal("0" + digits)


def _integer(digits: str) -> str:
    """A bare integer: 1100 to 2099 are read as years."""
    if len(digits) == 4 and "1100" <= digits <= "2099":
        return num2words(int(digits), to="year")
    return _cardinal(digits)


def _decimal(match: re.Match) -> str:
    whole, part = match[1] or "0", match[2]
    return f" {_cardinal(whole)} point {_digits(part)} "


def _money(match: re.Match) -> str:
    one, many, cent, cents = _MONEY[match[1]]
    whole, part, scale = match[2].replace(",", ""), match[3], match[4]
    if scale:  # $1.5 million
        amount = _cardinal(whole)
        if part:
            amount += f" point {_digits(part)}"
        return f" {amount} {scale} {many} "
    words = []
    if int(whole) or not part:
        words.append(f"{_cardinal(whole)} {one if int(whole) == 1 else many}")
    if part and int(part):
        number = int(part.ljust(2, "0")[:2])
        words.append(f"{num2words(number)} {cent if number == 1 else cents}")
    return f" {' and '.join(words) or 'zero ' + many} "


def _clock(match: re.Match) -> str:
    hour, minute, half = int(match[1]), int(match[2]), match[3]
    words = [num2words(hour)]
    if minute:
        words.append(("oh " if minute < 10 else "") + num2words(minute))
    elif not half:
        words.append("o'clock" if 0 < hour <= 12 else "hundred")
    if half:
        words.append(f"{half} m")
    return f" {' '.join(words)} "


def _half_of_day(match: re.Match) -> str:
    return f"{match[1]} a m" if match[1] else "p m"


def _telephone(match: re.Match) -> str:
    return f" {_digits(''.join(match.groups('')))} "


def _plural(match: re.Match) -> str:
    """Decades: 90s, '80s, 1990's."""
    digits = match[1]
    words = "two thousand" if digits == "00" else _integer(digits)
    return f" {words[:-1] + 'ies' if words.endswith('y') else words + 's'} "


def _ordinal(match: re.Match) -> str:
    return f" {num2words(int(match[1].replace(',', '')), to='ordinal')} "


# Applied in this order to lower-case text; each rule may rely on those before it.
_RULES: list[tuple[re.Pattern, str | Callable[[re.Match], str]]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\d{30,}", lambda m: " ".join(m[0]) + " "),  # no number: a dump, a key
        (r"(?<![\w-])(?:\(?(\d{3})\)?[-. ]\s?)?(\d{3})-(\d{4})(?![\w-])", _telephone),
        (r"https?://|(?<=\w)\.(?=(?:com|org|net|edu|gov)\b)|(?<=\bwww)\.",
         lambda m: " dot " if m[0] == "." else " "),
        (r"(?<=[^\s(])-", " "),  # 10am-2pm; what is left may be a sign
        (r"(?<=\bo)\"(?=clock\b)", "'"),
        (r"(?<=\b[a-z])!(?=[a-z])", "i"),  # p!nk
        (r"(?<=[a-z])\$(?=[a-z])", "s"),  # ke$ha
        (r"(" + _NUMBER + r")(\.\d+)?\s?([$£€¥])(?!\w)", r"\3\1\2"),  # 5 €
        (r"([$£€¥])\s?(" + _NUMBER + r")(?:\.(\d+))?"
         r"(?:\s?(hundred|thousand|million|billion))?", _money),
        (r"\b(\d{1,2})[:.](\d\d)\s?([ap])\.?\s?m\b\.?", _clock),
        (r"\b(\d{1,2}):([0-5]\d)()(?![:\d])(?:\s?o'clock\b)?", _clock),
        (r"\b(\d{1,2})\s?([ap])\.?\s?m\b\.?", r"\1 \2 m "),
        (r"\b([ap])\.m\b\.?", r"\1 m "),
        (rf"\b({_MONTHS}) 3d\b", r"\1 third"),
        (r"\b3d of\b", "third of"),
        (r"\b(" + _NUMBER + r")(?:st|nd|rd|th)\b", _ordinal),
        (r"'?\b(\d{2}|\d{2}00|\d{3}0)'?s\b", _plural),
        (r"\(?\b(\d{3})\)?[. ]\s?(\d{3})[. ](\d{4})\b", _telephone),
        (r"(?:(\d)\s)?(?<![\w/])([123])/([234])\b(?!/)",
         lambda m: (m[1] + " and " if m[1] else "")
         + _FRACTIONS.get((m[2], m[3]), f"{m[2]} {m[3]}")),
        (r"(?:(?<![\d.])(" + _NUMBER + r")|(?<![\w.]))\.(\d+)(?!\.?\d)", _decimal),
        (r"(?<![^\s(])-(?=\d)", "minus "),
        (r"%", " percent "),
        (r"&", " and "),
        (r"@", " at "),
        (r"#(?=\d)", " number "),
        (r"(?<=\d)\s?\+|\+(?=\d)", " plus "),
        (r"°\s?([cf])\b",
         lambda m: " degrees " + {"c": "celsius", "f": "fahrenheit"}[m[1]]),
        (r"°", " degrees "),
        (r"\d{1,3}(?:,\d{3})+", lambda m: f" {_cardinal(m[0])} "),
        (r"\d+", lambda m: f" {_integer(m[0])} "),
        (r"[^a-z']", " "),
        # Only apostrophes inside words stay.
        (r"(?<![a-z])'+|'+(?![a-z])", " "),
        (r"'+", "'"),
    ]
]  # fmt: skip


# Words as they leave normalize, which no rule changes: text is often normal already.
_CLEAN = re.compile(r"[a-z]+(?:'[a-z]+)*(?: [a-z]+(?:'[a-z]+)*)*")


def _fold(text: str) -> str:
    """Lower case without accents; ½ becomes `` 1/2``."""
    text = re.sub(r"[µμ](?=[glms]\b)", "mc", text)  # micrograms, beside mg
    if text != text.upper():
        # Capitals are read by letters; Sunset Dr. is a drive, Dr. Dre a doctor.
        text = re.sub(r"\b(?:MRS?|DR)\b", lambda m: " ".join(m[0]), text)
        text = re.sub(r"(?<=\w )([A-Z][a-z]+) Dr\b(?!\.? [A-Z])", r"\1 Drive", text)
    text = re.sub(r"[¼-¾⅐-⅞]", lambda m: f" {m[0]}", text.lower().translate(_LETTERS))
    text = unicodedata.normalize("NFKD", text).replace("⁄", "/").lower()
    return "".join(c for c in text if not unicodedata.combining(c))


def normalize(text: str) -> str:
    """Lower case a-z, apostrophes inside words, single spaces; numbers spelled out.

    Idempotent. Letters of other scripts are dropped (see :func:`dropped_letters`); the
    result may be empty.
    """
    if not _CLEAN.fullmatch(text):
        text = _fold(text)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        text = " ".join(text.split())
    # Among clean words, so that normalising twice finds nothing more.
    text = re.sub(rf"\b(?:({_HOURS}) am|pm)\b", _half_of_day, text)
    return re.sub(r"\b(?:mr|mrs|dr)\b", lambda m: _ABBREVIATIONS[m[0]], text)


def dropped_letters(text: str) -> str:
    """The letters of ``text`` that :func:`normalize` does not know."""
    if text.isascii():
        return ""
    return "".join(c for c in _fold(text) if c.isalpha() and not c.isascii())


# Written in capitals and read by letters: EP, NYC. Longer words are if they hold no
# vowel; Roman numbers are not, nor words that are often capitals for their weight.
_BY_LETTERS = re.compile(
    r"\b(?![IVX]+\b)(?:[A-Z]{2,3}|[B-DF-HJ-NP-TV-Z]{4,5})\b(?!['’])"
)
_LOUD = (
    "add all an and any are as at be big but buy by can day did do end few for get go "
    "got had has he her him his hop hot how if in is it its let man may me my new no "
    "not now of off oh ok old on one or our out own pop put red run say see set she "
    "sir so ten the to too top try two use was way we who why yes yet you"
)
_SHOUTED = set(_LOUD.split())


def spell_out(text: str, normal: str) -> str:
    """What a voice is to read of ``normal``, the normalised ``text``.

    ``Fly to NYC`` gives ``fly to n.y.c.``; a sentence all in capitals does not tell
    which of its words are read by letters, and stays as it is.
    """
    if text == text.upper():
        return normal
    starts = {match.start() for match in _BY_LETTERS.finditer(text)}
    capitals = defaultdict(list)  # of each occurrence of a word, in order
    for match in re.finditer("[A-Za-z]+", text):
        capitals[match[0].lower()].append(match.start() in starts)
    return " ".join(
        "".join(f"{letter}." for letter in word)
        if word not in _SHOUTED and capitals[word] and capitals[word].pop(0)
        else word
        for word in normal.split()
    )
