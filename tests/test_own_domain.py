"""A domain of one's own, from its files to the table: real models, little speech."""

import json
import re
import shutil

import pytest
from conftest import ROOT, Checkout


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy that has little general speech."""
    copy = Checkout(tmp_path_factory.mktemp("own") / "repository")
    for name in ("dev", "test"):
        path = copy.folder / f"egs2/librispeech/asr1/downloads/{name}.jsonl"
        rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join(rows[:3]))
    return copy


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Text, names and recordings, as a user has them."""
    folder = tmp_path_factory.mktemp("files")
    source = ROOT / "egs2/music/asr1/downloads"
    text, spoken = (
        [json.loads(line) for line in (source / f"{name}.jsonl").open()]
        for name in ("adapt", "test")
    )
    (folder / "notes.txt").write_text("".join(f"{r['text']}.\n" for r in text[:200]))
    names = {e["text"] for row in spoken[:10] for e in row["entities"]}
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in sorted(names)))
    (folder / "recordings").mkdir()
    for row in spoken[:10]:
        shutil.copy(source / f"audio/{row['id']}.ogg", folder / "recordings")
        (folder / f"recordings/{row['id']}.txt").write_text(row["text"])
    return folder


def test_a_new_domain_from_its_files_to_the_table(repository, files):
    made = repository.run(
        "tools/new_domain.sh", "notes", "--text", "notes.txt", "--entities=names.txt",
        "--test", "recordings", cwd=files,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "3 dev, 7 test" in made.stdout
    run = repository.run("egs2/notes/asr1/run.sh", "--methods", "", "--stop_stage", "8")
    assert run.returncode == 0, run.stderr[-3000:]
    results = (repository.folder / "exp/RESULTS.md").read_text()
    rates = re.findall(r"^\| ([a-z][\w+ ]+?) +\| (\d+\.\d+)", results, re.M)
    assert {"base", "base + LM", "base + second pass", "first pass alone"} == {
        row for row, _ in rates
    }
    assert all(float(wer) < 25 for _, wer in rates), rates
    decodes = repository.folder / "exp/notes/base"
    second = json.loads((decodes / "decode_second/decode.json").read_text())
    assert "first_pass" in second["weights"]
    scores = json.loads((decodes / "decode_second/notes_test/score.json").read_text())
    assert scores["entities"] > 5
    # The names, of which the text has few, are looked for.
    phrases = (repository.folder / "data/notes_text/train/names.txt").read_text()
    assert phrases.splitlines() == (files / "names.txt").read_text().splitlines()


def test_kaldi_directories_of_ones_own_are_checked(repository):
    shutil.copytree(
        repository.folder / "egs2/TEMPLATE", repository.folder / "egs2/leaky"
    )
    run = ("egs2/leaky/asr1/run.sh", "--preset", "tiny", "--stop_stage", "1")
    missing = repository.run(*run)
    assert missing.returncode == 1 and "error: no data of leaky: let" in missing.stderr
    data = repository.folder / "data/tiny"
    for part in ("train", "dev"):
        folder = data / "leaky_text" / part
        folder.mkdir(parents=True)
        (folder / "text").write_text(f"{part}-1 what was said in the {part}\n")
    for name in ("dev", "test"):  # of the general domain, under this one's name
        shutil.copytree(data / f"general_{name}", data / f"leaky_{name}")
    assert repository.run(*run).returncode == 0
    said = (data / "leaky_test/text").read_text().splitlines()[0].partition(" ")[2]
    (data / "leaky_text/train/text").write_text(f"train-1 {said}\n")
    leak = repository.run(*run)
    assert leak.returncode == 1
    last = leak.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "leaky_text/train" in last
