"""The two commands, run as a user runs them."""

import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spft.bin import prepare_data
from spft.data.corpora import READERS
from spft.data.corpora.mini import read_file
from spft.errors import UserError

ROOT = Path(__file__).parents[2]


def run(module, *args, **environment):
    return subprocess.run(
        [sys.executable, "-m", f"spft.bin.{module}", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.fixture
def corpus(tmp_path):
    root = tmp_path / "downloads"
    (root / "audio").mkdir(parents=True)
    entity = {"type": "artist", "text": "abba", "start": 1, "end": 2}
    adapt = [
        {"id": f"a{i:02d}", "text": "play abba" + " on" * i, "entities": [entity]}
        for i in range(60)
    ]
    rows = {"adapt": adapt}
    for part, artist in (("dev", "abba"), ("test", "björk")):
        key = f"s-{part}"
        artist = artist.replace("ö", "o")
        spoken = {"id": key, "text": f"put {artist} on", "speaker": "s", "rate": 1.0}
        rows[part] = [spoken | {"entities": [entity | {"text": artist}]}]
        tone = 0.1 * np.sin(np.arange(16000) / 5)
        soundfile.write(root / "audio" / f"{key}.ogg", tone, 16000, "OPUS")
    for name, items in rows.items():
        lines = "".join(json.dumps(item) + "\n" for item in items)
        (root / f"{name}.jsonl").write_text(lines)
    return root


def test_a_change_of_the_text_is_undone_and_told(corpus, tmp_path):
    out = tmp_path / "data"
    args = ("mini", "--source", corpus, "--out", out, "--domain", "music")
    assert "made anew" not in run("prepare_data", *args).stderr
    text = out / "music_test/text"
    before = text.read_text()
    text.write_text(before.replace("put", "puts"))
    assert f"{text}: was another, and is made anew" in run("prepare_data", *args).stderr
    assert text.read_text() == before


def test_sets_that_share_recordings(corpus, tmp_path):
    out = tmp_path / "data"
    run("prepare_data", "mini", "--source", corpus, "--out", out, "--domain", "music")
    shutil.copytree(out / "music_test", out / "music_more")
    sets = (out / "music_test", out / "music_more")
    result = run("validate_data", *sets, "--not_in", out / "music_text/train")
    assert result.returncode == 1
    assert f"music_more/wav.scp: {corpus}/audio/s-test.ogg is in" in result.stderr
    assert "keep the sets apart" in result.stderr


def test_mini_then_validate(corpus, tmp_path):
    out = tmp_path / "data"
    args = ("mini", "--source", corpus, "--out", out, "--domain", "music")
    result = run("prepare_data", *args)
    assert result.returncode == 0, result.stderr
    assert sorted(str(p.relative_to(out)) for p in out.glob("**/text")) == [
        "music_dev/text",
        "music_test/text",
        "music_text/dev/text",
        "music_text/train/text",
    ]
    lines = {line.split(":")[0]: line for line in result.stdout.splitlines()}
    assert "(artist 1), 0.0 % unseen" in lines[f"{out}/music_dev"]
    assert "(artist 1), 100.0 % unseen" in lines[f"{out}/music_test"]
    assert "1 utterances, 3 words, 0.00 h" in lines[f"{out}/music_dev"]

    result = run("validate_data", "--check_audio", out / "music_test")
    assert result.returncode == 0, result.stderr
    assert "valid" in result.stdout
    result = run("validate_data", out / "music_text" / "train")
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {out}/music_text/train/wav.scp: no such file; check the path\n"
    )
    result = run("validate_data", "--no_audio", out / "music_text" / "train")
    assert result.returncode == 0, result.stderr


def test_leak_is_refused(corpus, tmp_path):
    with (corpus / "adapt.jsonl").open("a") as stream:
        stream.write(json.dumps({"id": "z", "text": "put abba on"}) + "\n")
    args = ("mini", "--source", corpus, "--out", tmp_path / "d", "--domain", "music")
    result = run("prepare_data", *args)
    assert result.returncode == 1
    assert "holds the evaluation sentence 'put abba on'" in result.stderr
    assert "adaptation text 'z'" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "d").exists()  # stage 2 would take it


def test_text_only_drops_what_the_test_sets_hold(corpus, tmp_path):
    out = tmp_path / "data"
    run("prepare_data", "mini", "--source", corpus, "--out", out, "--domain", "music")
    folder = tmp_path / "snips" / "PlayMusic"
    folder.mkdir(parents=True)
    sentences = ["put abba on"] + [f"play {i}" for i in range(80)]
    for name in ("train_PlayMusic_full", "validate_PlayMusic"):
        data = [{"data": [{"text": text}]} for text in sentences]
        (folder / f"{name}.json").write_text(json.dumps({"PlayMusic": data}))
        sentences = [f"hear {i}" for i in range(10)]
    test = (out / "music_test" / "text").read_text()
    args = ("--intents", "PlayMusic", "--text_only", "--out", out)
    result = run("prepare_data", "snips", *args, SNIPS=str(folder.parent))
    assert result.returncode == 0, result.stderr
    assert (out / "music_test" / "text").read_text() == test
    kept = [
        (out / "music_text" / part / "text").read_text() for part in ("train", "dev")
    ]
    assert sum(text.count("\n") for text in kept) == 80
    assert "put abba on" not in "".join(kept)


def test_missing_source_names_the_variable(tmp_path, monkeypatch):
    result = run("prepare_data", "sgd", "--source", tmp_path / "no")
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {tmp_path}/no: no such corpus folder; set SGD (tools/db.sh names the "
        "official source)\n"
    )
    database = (ROOT / "tools" / "db.sh").read_text()
    for corpus in READERS:
        variable = import_module(f"spft.data.corpora.{corpus}").VARIABLE
        assert variable is None or re.search(rf'"\${{{variable}:?=', database)
        if variable and corpus != "general_text":  # which can do without
            monkeypatch.setenv(variable, str(tmp_path / "no"))
            monkeypatch.setattr("sys.argv", ["prepare_data", corpus])
            with pytest.raises(UserError, match=f"set {variable} "):
                prepare_data.main()
            monkeypatch.delenv(variable)
            with pytest.raises(UserError, match=f"no corpus path; set {variable} "):
                prepare_data.main()
            assert f': "${{{variable}:=}}"' in database


def test_general_text_joins_wordnet_and_transcripts(tmp_path):
    paired, wordnet = tmp_path / "paired", tmp_path / "wordnet"
    paired.mkdir()
    wordnet.mkdir()
    (paired / "text").write_text("u1 the cat sat down\n")
    (wordnet / "data.verb").write_text(
        'n 1 | of moving; "She RAN to the 2 gates"; "ran off"\n'
        'n 2 | again; "she ran to the two gates"; "the clock runs very fast"\n'
    )
    options = ["--paired", paired, "--source", wordnet, "--out", tmp_path / "data"]
    result = run("prepare_data", "general_text", *options, "--spoken", 1)
    assert result.returncode == 0, result.stderr
    lines = [
        line.split(maxsplit=1)[1]
        for name in ("train", "dev")
        for line in (tmp_path / f"data/general_text/{name}/text").open()
    ]
    # Normalised, each once, and short examples left out.
    assert sorted(lines) == [
        "she ran to the two gates\n",
        "the cat sat down\n",
        "the clock runs very fast\n",
    ]
    spoken = (tmp_path / "data/general_spoken/text").read_text()
    assert spoken.startswith("wordnet-") and spoken.count("\n") == 1


def test_entities_that_are_no_list(tmp_path):
    path = tmp_path / "adapt.jsonl"
    path.write_text('{"id": "a", "text": "stop", "entities": null}\n')
    with pytest.raises(UserError, match=r"adapt\.jsonl:1: not a list of entities"):
        read_file(path, audio=False)
