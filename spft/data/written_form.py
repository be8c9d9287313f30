"""Plain words as a recogniser would have written them."""

import functools
from difflib import SequenceMatcher

from spft.data.normalize import normalize

PUNCTUATION = ".,;:!?"
ALWAYS = ("I", "I'd", "I'll", "I'm", "I've")  # have a capital


def written_form(text: str, template: str) -> str:
    """Write a text as a transcript of the same speech is written.

    ``and play queens of the stone age`` like ``Play cleans, of the Stone age.`` gives
    ``And play queens, of the Stone age.``: words that both have stand as they do there,
    others get case and punctuation of those in whose place they are.

    Args:
        text: plain words.
        template: with case, punctuation and figures; if it is empty, the text stays.
    """
    if not template or not text:
        return text
    ending = _punctuation_behind(template)
    tokens = list(_units(template.removesuffix(ending)))
    if tokens and tokens[0][1:] == tokens[0][1:].lower() and tokens[0] not in ALWAYS:
        tokens[0] = tokens[0].lower()  # its capital is the sentence's
    words_of = [normalize(token).split() for token in tokens]
    words = [word for row in words_of for word in row]
    owners = [i for i, row in enumerate(words_of) for _ in row]
    new, written = text.split(), []
    matcher = SequenceMatcher(None, words, new, autojunk=False)
    for kind, start, end, first, last in matcher.get_opcodes():
        replaced = owners[start:end]
        if kind == "equal":
            for owner in dict.fromkeys(replaced):
                whole = replaced.count(owner) == len(words_of[owner])
                at = [i for i in range(start, end) if owners[i] == owner]
                written += [tokens[owner]] if whole else [words[i] for i in at]
            continue
        capital = any(tokens[owner][0].isupper() for owner in replaced)
        written += [
            word.capitalize() if capital or word.capitalize() in ALWAYS else word
            for word in new[first:last]
        ]
        if written and replaced and replaced[-1] not in owners[end:]:
            behind = _punctuation_behind(tokens[replaced[-1]])
            written[-1] = written[-1].rstrip(PUNCTUATION) + behind
    sentence = " ".join(written).rstrip(PUNCTUATION) + ending
    return sentence[:1].upper() + sentence[1:] if template[0].isupper() else sentence


@functools.lru_cache(64)  # asked for each hypothesis of an utterance
def _units(text: str) -> tuple[str, ...]:
    """The tokens of a text; read together, ``7 am`` or ``555 123 4567`` are one."""
    units: list[str] = []
    for token in text.split():
        units.append(token)
        for count in (2, 3):
            last = units[-count:]
            if normalize(" ".join(last)) != " ".join(map(normalize, last)):
                units[-count:] = [" ".join(last)]
                break
    return tuple(units)


def _punctuation_behind(text: str) -> str:
    return text[len(text.rstrip(PUNCTUATION)) :]
