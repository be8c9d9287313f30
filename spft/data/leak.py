"""Keeping test sentences out of adaptation and LM text."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from spft.data.normalize import normalize
from spft.data.table import read_table
from spft.data.utterance import Utterance
from spft.errors import UserError

# An evaluation sentence this long may not stand inside a longer adaptation line.
MIN_CONTAINED_WORDS = 5


def find_leaks(train: Mapping[str, str], evaluation: Iterable[str]) -> dict[str, str]:
    """Find adaptation lines that hold an evaluation sentence.

    A line leaks if it equals an evaluation sentence once both are normalised, or
    contains one of at least five words.

    Args:
        train: key -> adaptation line.
        evaluation: evaluation sentences.

    Returns:
        Key of each leaking line -> the (normalised) sentence that it holds.
    """
    whole = {normalize(sentence) for sentence in evaluation} - {""}
    # Long sentences are found by their first words instead of one by one.
    starts: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for sentence in sorted(whole):
        words = sentence.split()
        if len(words) >= MIN_CONTAINED_WORDS:
            starts[tuple(words[:MIN_CONTAINED_WORDS])].append(words)
    leaks = {}
    for key, line in train.items():
        normal = normalize(line)
        sentence = normal if normal in whole else _contained(normal.split(), starts)
        if sentence:
            leaks[key] = sentence
    return leaks


def _contained(
    words: list[str], starts: Mapping[tuple[str, ...], list[list[str]]]
) -> str | None:
    for i in range(len(words) - MIN_CONTAINED_WORDS + 1):
        for sentence in starts.get(tuple(words[i : i + MIN_CONTAINED_WORDS]), ()):
            if words[i : i + len(sentence)] == sentence:
                return " ".join(sentence)
    return None


def check_leak(train_text: str | Path, eval_texts: Iterable[str | Path]) -> None:
    """Refuse adaptation or LM text that holds an evaluation sentence.

    Args:
        train_text: Kaldi ``text`` file with the adaptation lines.
        eval_texts: Kaldi ``text`` files of the dev and test sets.

    Raises:
        UserError: names the first leaking line, where the sentence comes from, and how
            many lines leak.
    """
    train = read_table(train_text)
    tables = [read_table(path) for path in eval_texts]
    leaks = find_leaks(train, [line for table in tables for line in table.values()])
    if leaks:
        key, sentence = next(iter(leaks.items()))
        source = next(
            table.where(utterance)
            for table in tables
            for utterance, line in table.items()
            if normalize(line) == sentence
        )
        raise UserError(
            f"{train.where(key)}: holds the evaluation sentence {sentence!r} of "
            f"{source}; remove this line ({len(leaks)} such lines in all)"
        )


def refuse_leaks(train: Iterable[Utterance], evaluation: Iterable[Utterance]) -> None:
    """Refuse adaptation text that holds an evaluation sentence, before it is written.

    Raises:
        UserError: names the first leaking sentence and how many there are.
    """
    sentences = {normalize(u.text): u.id for u in evaluation if u.text is not None}
    leaks = find_leaks({u.id: u.text or "" for u in train}, sentences)
    if leaks:
        key, sentence = next(iter(leaks.items()))
        raise UserError(
            f"adaptation text {key!r} holds the evaluation sentence {sentence!r} of "
            f"{sentences[sentence]!r}; take it out of the corpus ({len(leaks)} such "
            "sentences in all)"
        )


def remove_leaks(
    train: Sequence[Utterance], evaluation: Iterable[Utterance]
) -> tuple[list[Utterance], int]:
    """Drop leaking utterances; return what stays and how many were dropped."""
    sentences = [u.text for u in evaluation if u.text is not None]
    leaks = find_leaks({u.id: u.text or "" for u in train}, sentences)
    return [u for u in train if u.id not in leaks], len(leaks)
