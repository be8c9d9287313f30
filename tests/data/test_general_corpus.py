import json
from pathlib import Path

import pytest

from spft.bin.make_general_corpus import SIZES, SPEAKERS, split_sentences
from spft.errors import UserError

CORPUS = Path(__file__).parents[2] / "egs2/librispeech/asr1/downloads"


def test_committed_files_are_what_the_source_gives():
    for name, rows in split_sentences(CORPUS / "source/sentences.txt").items():
        lines = (CORPUS / f"{name}.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == rows
        assert len(rows) == SIZES[name]
        assert {row["speaker"] for row in rows} == set(SPEAKERS[name])
        assert all(row["id"].startswith(row["speaker"] + "-") for row in rows)
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


def test_sets_share_no_voice_and_test_has_men_and_women_of_both_accents():
    voices = [voice for of_set in SPEAKERS.values() for voice in of_set]
    assert len(voices) == len(set(voices))
    assert {voice[:2] for voice in SPEAKERS["test"]} == {"af", "am", "bf", "bm"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a dog\nNot Normal\n", ":2: not normalised"),
        ("a dog\na cat\na dog\n", ":3: repeated"),
        ("a dog\n", "1 sentences; 320 needed"),
    ],
)
def test_bad_sources(tmp_path, text, message):
    (tmp_path / "sentences.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        split_sentences(tmp_path / "sentences.txt")
