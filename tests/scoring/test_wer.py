import re

import jiwer
import pytest

from spft.errors import UserError
from spft.scoring import wer
from spft.scoring.wer import find_tool, read_trn, score_wer, write_trn

REFS = {
    "s-1-u1": ("the", "cat", "sat", "on", "the", "mat"),
    "s-1-u2": ("play", "hey", "jude's", "by", "the", "beatles"),
    "s_2-u3": ("what", "is"),
    "s_2-u4": (),
}
HYPS = {
    "s-1-u1": ("the", "cat", "sit", "on", "mat"),
    "s-1-u2": ("play", "hey", "dude", "by", "the", "the", "beatles"),
    "s_2-u3": (),
    "s_2-u4": ("hello", "there", "world"),
}
SPEAKERS = {"s-1-u1": "s-1", "s-1-u2": "s-1", "s_2-u3": "s_2", "s_2-u4": "s_2"}


def tables(text):
    """The rows of the tables as lists of cells, without rules and captions."""
    rows = [re.split(r"[|\s]+", line.strip("| ")) for line in text.splitlines()]
    names = {"SPKR", "s_1", "s_2", "Sum/Avg", "Sum", "Mean", "S.D.", "Median"}
    return [row for row in rows if row[0] in names and len(row) > 8]


@pytest.mark.skipif(not find_tool("sclite"), reason="sclite is not installed")
def test_own_report_has_sclites_tables_and_alignments(tmp_path, monkeypatch, capsys):
    counts = score_wer(REFS, HYPS, SPEAKERS, tmp_path / "sclite")
    theirs = (tmp_path / "sclite" / "result.txt").read_text()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(wer, "find_tool", lambda name: None)
    assert score_wer(REFS, HYPS, SPEAKERS, tmp_path / "own") == counts
    assert "sclite not found" in capsys.readouterr().err
    ours = (tmp_path / "own" / "result.txt").read_text()
    assert len(tables(theirs)) == 14
    assert tables(ours) == tables(theirs)
    for name in ("Scores:", "REF:", "HYP:", "Eval:"):
        lines = [
            [line.split() for line in text.splitlines() if line.startswith(name)]
            for text in (theirs, ours)
        ]
        assert lines[0] == lines[1]
        assert len(lines[0]) == 4
    for suffix in ("sys", "raw", "pra", "dtl", "sgml"):
        assert (tmp_path / "sclite" / f"result.{suffix}").is_file()
        assert not (tmp_path / "own" / f"result.{suffix}").exists()


def test_large_sets_keep_their_columns_apart():
    counts = wer.WordCounts(2620, 120_000, 110_000, 8000, 2000, 1000, 2600)
    for percent in (True, False):
        for row in tables(wer.summary_table({"all": counts}, percent))[1:]:
            assert len(row) == 9 and row[2] in ("120000", "120000.0", "0.0"), row


def test_counts_and_what_espnet_users_grep(tmp_path):
    counts = score_wer(REFS, HYPS, SPEAKERS, tmp_path)
    assert (counts.sentences, counts.words, counts.sentence_errors) == (4, 14, 4)
    assert (counts.substitutions, counts.deletions, counts.insertions) == (2, 3, 4)
    lines = (tmp_path / "result.txt").read_text().splitlines()
    head, average = [line for line in lines if "Avg" in line or "SPKR" in line][:2]
    assert "# Snt # Wrd | Corr    Sub    Del    Ins    Err  S.Err" in head
    cells = average.replace("|", " ").split()
    assert cells[1:] == ["4", "14", "64.3", "14.3", "21.4", "28.6", "64.3", "100.0"]
    texts = [[" ".join(t[u]) for u in REFS if REFS[u]] for t in (REFS, HYPS)]
    # jiwer takes no empty reference; its three words are the missing insertions.
    assert 14 * jiwer.wer(*texts) + 3 == pytest.approx(counts.errors)


def test_trn_round_trip_and_bad_lines(tmp_path):
    write_trn(tmp_path / "a.trn", REFS, SPEAKERS)
    assert read_trn(tmp_path / "a.trn") == REFS
    (tmp_path / "b.trn").write_text("the cat (s-u)\nno id here\n")
    with pytest.raises(UserError, match=r"b\.trn:2: no \(speaker-utterance\) id"):
        read_trn(tmp_path / "b.trn")


def test_ids_may_hold_brackets(tmp_path):
    words = {"call_(1)": ("go", "on", "now")}
    counts = score_wer(
        words, {"call_(1)": ("go", "on")}, {"call_(1)": "a-(2)"}, tmp_path
    )
    assert (counts.words, counts.correct, counts.deletions) == (3, 2, 1)
    assert read_trn(tmp_path / "ref.trn") == {"call_[1]": words["call_(1)"]}


def test_references_without_words(tmp_path):
    with pytest.raises(UserError, match="hold no words"):
        score_wer({"u": ()}, {"u": ("a",)}, {"u": "s"}, tmp_path)
