"""The mini-corpus generator on a tiny source, and the committed corpora."""

import json
import random
import shutil
import sys
from pathlib import Path

import pytest

from spft.bin import make_corpus as command
from spft.data.corpus_source import read_lines, read_records, read_settings
from spft.data.mini_corpus import WordSequences, make_corpus, split_entities
from spft.data.normalize import normalize
from spft.errors import UserError

RECIPES = Path(__file__).parents[2] / "egs2"
COMMITTED = [
    path.parents[1]
    for path in sorted(RECIPES.glob("*/asr1/downloads/source/corpus.yaml"))
]
SIZES = {"adapt": 1800, "dev": 100, "test": 200}

SOURCE = {
    "corpus.yaml": """
domain: tiny
seed: 3
held_out: 0.3
unseen_occurrences: 0.5
words: [2, 12]
sizes: {adapt: 30, dev: 4, test: 6}
rate: [0.9, 1.1]
speakers: {dev: [af_sky, bm_lewis], test: [am_puck, bf_emma]}
""",
    "entities.yaml": """
artist: [abba, adele, queen, toto, yes, blur, muse, sade, seal, cher]
track:
  - {text: dancing queen, artist: abba, year: nineteen seventy six}
  - {text: hello, artist: adele}
  - {text: africa, artist: toto}
  - {text: roundabout, artist: yes}
  - {text: believe, artist: cher}
  - {text: kiss from a rose, artist: seal}
  - {text: parklife, artist: blur}
""",
    "adapt_frames.txt": """
# comment
play {track} by {track.artist}
<play|put on> {artist} <|please>
is {artist} or {artist:2} on tour
{track} came out in {track.year}
turn it down
""",
    "adapt_sentences.txt": "i heard [parklife](track) by [blur](artist) today\n",
    "eval_frames.txt": "\n".join(
        f"{start} {slot}"
        for start in ("let me hear", "could we have", "find", "give us")
        for slot in ("{artist}", "{track}", "{track} from {track.artist}")
    ),
}


@pytest.fixture
def source(tmp_path):
    for name, text in SOURCE.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def unseen_share(rows):
    """Share of the test entities whose words never occur in adaptation text."""
    entities = [e["text"] for row in rows["test"] for e in row["entities"]]
    phrases = WordSequences(entities)
    seen = set().union(*(phrases.found(row["text"]) for row in rows["adapt"]))
    return sum(text not in seen for text in entities) / len(entities)


def held_out(source):
    """The entities that the generator holds out."""
    settings = read_settings(source / "corpus.yaml")
    entities = read_records(source / "entities.yaml")
    lines = [
        line
        for name in ("adapt_sentences", "adapt_frames")
        for line in read_lines(source / f"{name}.txt", entities)
    ]
    rng = random.Random(settings.seed)
    held = split_entities(entities, lines, settings.held_out, rng)
    # An entity may stand under two types, so that the union can be a little smaller.
    total = sum(len(records) for records in entities.values())
    assert abs(len(held) / total - settings.held_out) < 0.03
    return held


def check_rows(rows):
    """What must hold in every corpus: ids, spans, normal form, nothing twice."""
    texts = [row["text"] for name in rows for row in rows[name]]
    assert len(set(texts)) == len(texts)
    ids = [row["id"] for name in rows for row in rows[name]]
    assert len(set(ids)) == len(ids)
    for row in (row for name in rows for row in rows[name]):
        assert normalize(row["text"]) == row["text"]
        for entity in row["entities"]:
            span = row["text"].split()[entity["start"] : entity["end"]]
            assert " ".join(span) == entity["text"]
    for name in ("dev", "test"):
        assert rows[name] == sorted(rows[name], key=lambda row: row["id"])
        for row in rows[name]:
            assert row["id"].startswith(row["speaker"] + "-")
            assert 0.8 <= row["rate"] <= 1.25
    speakers = [{row["speaker"] for row in rows[name]} for name in ("dev", "test")]
    assert not speakers[0] & speakers[1]


def test_same_sources_same_corpus(source):
    rows = make_corpus(source)
    assert rows == make_corpus(source)
    assert {name: len(made) for name, made in rows.items()} == {
        "adapt": 30,
        "dev": 4,
        "test": 6,
    }
    check_rows(rows)
    settings = source / "corpus.yaml"
    settings.write_text(settings.read_text().replace("seed: 3", "seed: 4"))
    assert make_corpus(source) != rows


@pytest.mark.parametrize("seed", range(8))
def test_held_out_entities_are_not_in_adaptation(source, seed):
    settings = source / "corpus.yaml"
    text = settings.read_text().replace("seed: 3", f"seed: {seed}")
    settings.write_text(text.replace("adapt: 30", "adapt: 20"))
    rows = make_corpus(source)
    artists = SOURCE["entities.yaml"].split("[")[1].split("]")[0].split(", ")
    phrases = WordSequences(artists)
    seen = set().union(*(phrases.found(row["text"]) for row in rows["adapt"]))
    # "blur" stands in a free sentence; three of ten are held out.
    assert "blur" in seen
    assert len(set(artists) - seen) >= 3
    if "queen" not in seen:
        assert not any("dancing queen" in row["text"] for row in rows["adapt"])


def test_related_entities_are_of_one_record(source):
    true = {("abba", "dancing queen"), ("adele", "hello"), ("toto", "africa")}
    true |= {("yes", "roundabout"), ("cher", "believe"), ("blur", "parklife")}
    true |= {("seal", "kiss from a rose")}
    pairs = [
        tuple(e["text"] for e in sorted(row["entities"], key=lambda e: e["type"]))
        for row in make_corpus(source)["adapt"]
        if " by " in row["text"]
    ]
    assert pairs
    assert set(pairs) <= true


def test_phrases_find_possessives_and_only_whole_words():
    phrases = WordSequences(["queen", "the who", "a b"])
    assert phrases.found("play queen's hits") == {"queen"}
    assert phrases.found("queens of the whole world a big b") == set()


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("adapt_frames.txt", "play {song}", "unknown type in {song}"),
        ("adapt_frames.txt", "play {track.color}", "unknown attribute"),
        ("adapt_frames.txt", "play {track:x}", "bad slot"),
        ("adapt_frames.txt", "play {artist}'s hits", "cannot read"),
        ("adapt_sentences.txt", "play [abba](artist", "cannot read"),
        ("adapt_sentences.txt", "play [abba](band)", "unknown type"),
        ("adapt_sentences.txt", "play [ABBA](artist)", "not in normal form"),
        ("adapt_frames.txt", "ask mr {artist}", "not in normal form"),
        ("eval_frames.txt", "top 40 hits", "not in normal form"),
        ("eval_frames.txt", "play {track} by {track.artist}", "worded like"),
        ("entities.yaml", "  - {artist: abba}", "without `text`"),
        ("entities.yaml", "  - hello", "is there twice"),
        ("entities.yaml", "  - [abba]", "a record is text or"),
    ],
)
def test_malformed_lines_are_named(source, name, line, message):
    path = source / name
    text = path.read_text().rstrip("\n") + f"\n{line}\n"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        make_corpus(source)
    assert str(error.value).startswith(f"{path}:{len(text.splitlines())}: ")
    assert message in str(error.value)


def test_too_few_lines_are_reported(source):
    (source / "eval_frames.txt").write_text("let me hear {artist}\n")
    with pytest.raises(UserError, match="add lines"):
        make_corpus(source)
    (source / "adapt_frames.txt").write_text("turn it down\n")
    with pytest.raises(UserError, match="add frames"):
        make_corpus(source)
    (source / "eval_frames.txt").unlink()
    with pytest.raises(UserError, match="no such file"):
        make_corpus(source)


def test_command_remakes_the_committed_files(tmp_path, monkeypatch):
    """The committed files are what the committed sources give."""
    assert COMMITTED
    for corpus in COMMITTED:
        copy = tmp_path / corpus.parts[-3]
        shutil.copytree(corpus / "source", copy / "source")
        monkeypatch.setattr(sys, "argv", ["make_corpus", str(copy)])
        command.main()
        for name in SIZES:
            file = f"{name}.jsonl"
            assert (copy / file).read_bytes() == (corpus / file).read_bytes()


@pytest.mark.parametrize("corpus", COMMITTED, ids=lambda path: path.parts[-3])
def test_committed_corpus(corpus):
    rows = {
        name: [json.loads(line) for line in (corpus / f"{name}.jsonl").open()]
        for name in SIZES
    }
    assert all(len(rows[name]) >= size for name, size in SIZES.items())
    check_rows(rows)
    assert not WordSequences(held_out(corpus / "source")).found(
        " | ".join(row["text"] for row in rows["adapt"])
    )
    entities = {
        (e["type"], e["text"])
        for name in rows
        for row in rows[name]
        for e in row["entities"]
    }
    assert len(entities) >= 300
    assert len({kind for kind, _ in entities}) >= 4
    assert 0.35 <= unseen_share(rows) <= 0.65
    lengths = [len(row["text"].split()) for row in rows["test"]]
    assert 7 <= sum(lengths) / len(lengths) <= 12
