from dataclasses import replace

import kaldiio
import numpy as np
import pytest

from spft.bin import combine_data
from spft.data.kaldi import read_data_dir, validate_data_dir, write_data_dir
from spft.data.speech import find_speech
from spft.errors import UserError


def run_main(monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["prog", *map(str, options)])
    combine_data.main()


def test_both_sets_are_in_the_result(monkeypatch, tiny_data, tmp_path):
    paired, other = tiny_data / "paired", tmp_path / "other"
    utterances = read_data_dir(paired)
    renamed = [replace(u, id=f"x-{u.id}", speaker=f"x-{u.speaker}") for u in utterances]
    write_data_dir(other, renamed)
    out = tmp_path / "both"
    run_main(monkeypatch, "--data", paired, other, "--out", out)
    assert validate_data_dir(out) == sorted(utterances + renamed, key=lambda u: u.id)


def test_features_of_both(monkeypatch, tiny_data, tmp_path):
    names = [u.id for u in read_data_dir(tiny_data / "paired")]
    for folder, part in (("a", names[:3]), ("b", names[3:])):
        utterances = [u for u in read_data_dir(tiny_data / "paired") if u.id in part]
        write_data_dir(tmp_path / folder, utterances)
        features = {name: np.ones((2 + len(name), 4)) for name in part}
        path = tmp_path / "dump" / folder
        path.mkdir(parents=True)
        kaldiio.save_ark(f"{path}/feats.ark", features, scp=f"{path}/feats.scp")
        lines = [f"{name} {len(rows)}\n" for name, rows in features.items()]
        (path / "utt2num_frames").write_text("".join(lines))
    options = ["--out", tmp_path / "both", "--dump", tmp_path / "dump"]
    run_main(monkeypatch, "--data", tmp_path / "b", tmp_path / "a", *options)
    speech = find_speech(tmp_path / "both", tmp_path / "dump")
    assert speech.kind == "kaldi_ark" and sorted(speech.lengths) == sorted(names)
    assert all(len(speech.load(name)) == n for name, n in speech.lengths.items())
    # What the first pass did not understand can be left out, with its features.
    texts = {u.id: u.text for u in read_data_dir(tmp_path / "a")}
    written = dict(texts) | {names[1]: "something else"}
    lines = [f"{name} {text}\n" for name, text in written.items()]
    (tmp_path / "dump/a/first_pass").write_text("".join(lines))
    run_main(monkeypatch, "--data", tmp_path / "a", *options, "--max_cer", 0.1)
    speech = find_speech(tmp_path / "both", tmp_path / "dump")
    assert sorted(speech.lengths) == [names[0], names[2]]
    assert speech.transcripts(names[:1]) == [texts[names[0]]]


def test_an_utterance_twice(monkeypatch, tiny_data, tmp_path):
    paired = tiny_data / "paired"
    with pytest.raises(UserError, match="paired: .* is also in .*paired"):
        run_main(monkeypatch, "--data", paired, paired, "--out", tmp_path / "both")
    assert not (tmp_path / "both").exists()
