import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spft.bin import report, score, summary
from spft.data.entities import Entity, write_entities
from spft.data.table import write_table
from spft.errors import UserError
from spft.files import sha256
from spft.scoring.collect import (
    PValues,
    RowScores,
    SystemRow,
    collect,
    compare_eer,
    compare_wer,
    trained_stages,
)
from spft.scoring.inputs import read_transcripts
from spft.scoring.table import (
    against_untuned,
    format_table,
    gap_closed,
    marks,
    table_cells,
)
from spft.scoring.wer import find_tool

ROOT = Path(__file__).parents[2]
ERROR_RATES = {"base": 0.7, "no_prompt": 0.25, "soft_prompt": 0.02}
SCORES = "music/no_prompt/decode_plain/music_test/score.json"
NAMES = ["abba", "hey jude", "dancing queen", "the beatles", "sos"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tiny recipe root: data, and decodes of three systems without the LM."""
    root, rng = tmp_path_factory.mktemp("recipe"), random.Random(0)
    texts, entities = {}, {}
    for i in range(60):
        utt, name = f"spk{i % 2}-u{i:02}", NAMES[i % len(NAMES)]
        texts[utt] = f"please play {name} for me now"
        start, length = 2, len(name.split())
        entities[utt] = [Entity("music", name, start, start + length)]
    for name in ("music_test", "general_test"):
        data = root / "data" / name
        write_table(data / "text", texts)
        write_table(data / "utt2spk", {utt: utt.split("-")[0] for utt in texts})
    write_entities(root / "data" / "music_test" / "entities", entities)
    write_table(root / "adapt" / "text", {"a": "play abba", "b": "sos and hey jude"})
    for system, rate in ERROR_RATES.items():
        decode = root / "exp" / "music" / system / "decode_plain"
        for name in ("music_test", "general_test"):
            hyps = {
                utt: " ".join("x" if rng.random() < rate else w for w in text.split())
                for utt, text in texts.items()
            }
            # Hypotheses as a recogniser writes them; scoring normalises both sides.
            write_table(decode / name / "text", {u: h.upper() for u, h in hyps.items()})
            text = read_transcripts(root / "adapt" / "text").values()
            score.score(root / "data" / name, decode / name, text)
        weights = {"weights": {"lm": 0.25, "length": 1}, "seconds": 3.2}
        (decode / "decode.json").write_text(json.dumps(weights))
    (root / "exp" / "commands.log").write_text("./run.sh --stage 1\n")
    return root


def run_report(tree, monkeypatch, *arguments):
    monkeypatch.chdir(tree)
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    report.main()


def test_scores(tree):
    folder = (tree / "exp" / SCORES).parent
    scores = json.loads((tree / "exp" / SCORES).read_text())
    counts = scores["sub"] + scores["del"] + scores["ins"]
    assert scores["wer"] == pytest.approx(100 * counts / scores["words"])
    assert scores["words"] == sum(
        len(line.split()) - 1
        for line in (tree / "data/music_test/text").read_text().splitlines()
    )
    assert 10 < scores["wer"] < 40
    assert scores["entities"] == 60
    assert scores["entities_seen"] == 36
    assert scores["by_type"]["music"]["eer"] == scores["eer"] > 0
    general = json.loads((folder.parent / "general_test/score.json").read_text())
    assert general["eer"] is None
    assert (folder / "score_wer" / "result.txt").is_file()


def test_report(tree, monkeypatch, capsys):
    run_report(tree, monkeypatch, "--domains", "music")
    text = (tree / "RESULTS.md").read_text()
    printed = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = {line.split("|")[1].strip(): line for line in lines}
    cells = [cell.strip() for cell in rows["soft prompt"].split("|")[1:-1]]
    # A difference this large is significant in all four tests.
    assert cells[1].endswith("***†††")
    assert cells[2].startswith("-9")
    assert cells[3].endswith("***†††")
    assert cells[8] == "lm 0.25, length 1"
    assert rows["no prompt"].count("***") == 2
    assert "†" not in rows["no prompt"]
    assert "*" not in rows["base"]
    assert "base + LM" not in rows  # not decoded
    assert "soft prompt" in printed
    assert cells[1] in printed
    assert "```sh\n./run.sh --stage 1\n```" in text
    assert "- torch: `" in text
    assert "|base/decode_plain/general_test|60|" in text
    assert "60 entities (36 seen and 24 unseen in the adaptation text)" in text
    table = json.loads((tree / "exp/report/table.json").read_text())["music"]
    assert [row["row"]["key"] for row in table] == list(ERROR_RATES)
    assert table[-1]["versus"]["wer"] < 0.001


def test_a_report_of_several_seeds(tree, tmp_path, monkeypatch):
    seed = tmp_path / "seed1"
    shutil.copytree(tree / "exp", seed)
    (seed / "commands.log").write_text(f"train --out {seed}/music/no_prompt # 7 s\n")
    out = tmp_path / "SEEDS.md"
    run_report(tree, monkeypatch, "--domains", "music", "--seeds", seed, "--out", out)
    text = out.read_text()
    seeds = text.split("## Seeds of music")[1].split("\n## ")[0]
    wer = json.loads((seed / SCORES).read_text())["wer"]
    assert re.search(rf"^\| no prompt +\| {wer:.2f}, {wer:.2f} +\| {wer:.2f} ± 0.00 ",
                     seeds, re.M)  # fmt: skip
    assert f"## Commands of {seed}\n" in text and "no_prompt # 7 s\n" in text


def test_what_tuning_adds_to_a_second_pass_stands_below_the_table(tree, tmp_path):
    exp = tmp_path / "exp"
    shutil.copytree(tree / "exp", exp)
    for system in ("base", "no_prompt", "soft_prompt"):
        found = "base" if system == "no_prompt" else system  # the same twice
        source, second = (
            exp / "music" / name / f"decode_{tag}"
            for name, tag in ((found, "plain"), (system, "second"))
        )
        shutil.copytree(source, second)
    line = against_untuned(collect(exp, "music", "general_test"))[-1]
    assert "p for WER, for EER: no prompt + second pass 1.000, 1.000; " in line
    assert line.endswith("; soft prompt + second pass < 0.001, < 0.001.")
    assert against_untuned(collect(tree / "exp", "music", "general_test")) == []


def test_figures_of_reports_go_side_by_side_into_a_page(tree, monkeypatch):
    run_report(tree, monkeypatch, "--domains", "music")
    report, page = tree / "RESULTS.md", tree / "README.md"
    other = tree / "OTHER.md"
    lines = report.read_text().replace("## music", "## chatbot").splitlines()
    other.write_text("\n".join(x for x in lines if not x.startswith("| no prompt")))
    monkeypatch.setattr("sys.argv", ["x", str(report), str(other), "--out", str(page)])
    page.write_text("# x\n")
    with pytest.raises(UserError, match="README.md: has no lines"):
        summary.main()
    page.write_text("# x\n<!-- results -->\nold\n<!-- end of results -->\nend\n")
    for _ in range(2):
        summary.main()
        text = page.read_text()
        assert text.startswith("# x\n<!-- results -->\n\n| system")
        assert text.endswith("\n\n<!-- end of results -->\nend\n")
        header, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in text.splitlines()
            if line.startswith("|")
        ]
        assert header[1:] == [
            *(f"{d} {m} (Δ %)" for d in ("music", "chatbot") for m in ("WER", "EER")),
            "general WER (music / chatbot)",
        ]
        assert [row[0] for row in rows] == ["base", "no prompt", "soft prompt"]
        assert rows[1][1].split()[0] in report.read_text()
        assert rows[1][3:5] == ["–", "–"] and rows[1][5].endswith(" / –")
        assert rows[2][1:3] == rows[2][3:5]
    monkeypatch.setattr("sys.argv", [*sys.argv, "--without", "soft"])
    summary.main()
    assert "| base" in page.read_text() and "soft prompt" not in page.read_text()
    monkeypatch.setattr("sys.argv", [*sys.argv[:2], str(report), *sys.argv[3:]])
    with pytest.raises(UserError, match="RESULTS.md: another report has music"):
        summary.main()
    monkeypatch.setattr("sys.argv", ["x", str(page), "--out", str(page)])
    with pytest.raises(UserError, match="README.md: no table of spft.bin.report"):
        summary.main()


def test_changes_are_those_of_the_report():
    row = {"WER": "1.50*", "Δ WER": "–", "EER": "2.00", "Δ EER": "-91.53"}
    assert summary.change(row, "WER") == ""  # of nothing there is no share
    assert summary.change(row, "EER") == " (-91.53)"


def test_missing_domain_is_one_line(tree, monkeypatch):
    with pytest.raises(
        UserError, match="chatbot: no system has scores of chatbot_test"
    ):
        run_report(tree, monkeypatch, "--domains", "music", "chatbot")


def test_sets_without_entities_are_not_tested_for_them(tree):
    decodes = [
        tree / "exp/music" / system / "decode_plain/general_test"
        for system in ("base", "soft_prompt")
    ]
    assert compare_wer(*decodes) < 0.001
    assert compare_eer(*decodes) is None


def test_rows_may_be_any_systems(tree):
    rows = [
        SystemRow("ours", "ours", "soft_prompt", "plain", "gone"),
        SystemRow("base", "base", "base", "plain"),
    ]
    results = collect(tree / "exp", "music", "no_such_set", rows)
    assert results[1].base.wer < 0.001
    assert results[1].wer_change > 100
    assert results[1].eer_change > 20
    assert [row[7] for row in table_cells(results)] == ["–", "–"]


def test_share_of_what_audio_would_win():
    def row(system, wer, tag="plain", **p):
        name = f"{system}_{tag}"
        return RowScores(SystemRow(name, name, system, tag), {"wer": wer}, **p)

    rows = [row("base", 10.0), row("no_prompt", 9.0), row("soft_prompt", 8.0)]
    assert gap_closed(rows) == []
    second = [row("base", 8.0, "second"), row("no_prompt", 7.0, "second")]
    found = [row("tts", 6.0, base=PValues(0.01))]
    found += [row("tts", 5.5, "second", base=PValues(0.001), untuned=PValues(0.02))]
    line = gap_closed([*rows, *second, *found])[-1]
    assert line.endswith(
        ": no_prompt_plain 25 %, soft_prompt_plain 50 %, no_prompt_second 40 %."
    )
    for upper in (
        row("tts", 10.5, base=PValues(0.01)),
        row("tts", 9.9, base=PValues(0.3)),
    ):
        assert gap_closed([*rows, upper]) == []  # audio does not win anything


def test_show_result(tree):
    script = ROOT / "tools" / "show_result.sh"
    done = subprocess.run(
        [script, "exp"], cwd=tree, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    scores = json.loads(
        (tree / "exp/music/base/decode_plain/music_test/score.json").read_text()
    )
    row = next(
        line for line in lines if line.startswith("|decode_plain/music_test|60|")
    )
    assert row.count("|") == 10
    assert f"|{scores['wer']:.1f}|{scores['ser']:.1f}|" in row
    assert "### EER of music/base/decode_plain/music_test" in lines
    assert not any("general_test" in x for x in lines if x.startswith("###"))
    assert any(line.startswith("|Sum/Avg|60|") for line in lines)
    done = subprocess.run([script, "adapt"], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 1
    assert "decode and score first" in done.stderr


def test_formatting():
    assert [marks(p, "*") for p in (None, 0.05, 0.049, 0.009, 0.0009)] == [
        "", "", "*", "**", "***",
    ]  # fmt: skip
    table = format_table(["a", "long"], [["1", "2"], ["three", "–"]]).splitlines()
    assert len({len(line) for line in table}) == 1
    assert table[2] == "| 1     | 2    |"


@pytest.mark.skipif(not find_tool("sclite"), reason="sclite is not installed")
def test_same_report_without_sctk(tree, tmp_path, monkeypatch):
    from spft.scoring import significance

    theirs = collect(tree / "exp", "music", "general_test")
    monkeypatch.setattr(significance, "find_tool", lambda name: None)
    ours = collect(tree / "exp", "music", "general_test")
    assert table_cells(ours) == table_cells(theirs)


def test_commands_of_other_domains_are_left_out(tmp_path):
    lines = ["cp -r shipped exp/baseline", "egs2/my_medical/asr1/local/data.sh"]
    lines += ["train --out exp/music/prompt", "train --out exp/my_medical/prompt"]
    lines += ["decode --data data/music_live_test"]
    log = "".join(f"{line} # {i} s\n" for i, line in enumerate([*lines, lines[2]]))
    for exp in (tmp_path / "exp", tmp_path / "my_medical/exp"):  # whatever leads there
        for name in ("music", "my_medical", "music_live"):  # one begins as another
            (exp / name / "base" / "decode_plain").mkdir(parents=True, exist_ok=True)
        (exp / "commands.log").write_text(log.replace("exp/", f"{exp}/"))
        lines_of = report.commands_section(exp, ["music"]).splitlines()[3:-1]
        start, prompt = (lines[n].replace("exp/", f"{exp}/") for n in (0, 2))
        assert lines_of == [f"{start} # 0 s", f"{prompt} # 5 s"]


def test_rows_of_another_baseline_are_left_out(tree, tmp_path, monkeypatch, capsys):
    tree = shutil.copytree(tree, tmp_path / "tree")
    monkeypatch.chdir(tree)
    exp = Path("exp")
    for folder in (exp / "baseline", exp / "music" / "no_prompt"):
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_text(f"weights of {folder}")
    start = {str(exp / "baseline/model.safetensors"): "the sum of an earlier one"}
    settings = exp / "music/no_prompt/settings.json"
    settings.write_text(json.dumps({"sha256": start}))
    aside = exp / "music/soft_prompt.old"  # training has not finished
    aside.mkdir()
    (aside / "settings.json").write_text("{}")
    names = [path.name for path in trained_stages(exp / "music")]
    assert "no_prompt" not in names and aside.name not in names
    assert "soft_prompt" in names
    model = exp / "music/no_prompt/model.safetensors"
    decode = exp / "music/no_prompt/decode_plain/decode.json"
    before = decode.read_text()
    made_of = {str(model): sha256(model), "a/file/that/is/gone": "0"}
    decode.write_text(json.dumps(json.loads(before) | {"sha256": made_of}))
    rows = {r.row.key: r for r in collect(exp, "music", "general_test")}
    assert rows.keys() == {"base", "soft_prompt"}
    assert rows["soft_prompt"].versus.wer is None, "nothing to compare with"
    run_report(tree, monkeypatch, "--domains", "music")
    text = (tree / "RESULTS.md").read_text()
    assert "\nWithout no prompt: of another baseline, data or search.\n" in text
    assert "|no_prompt/decode_plain" not in text
    shown = capsys.readouterr().out
    assert (
        "without no prompt: made from an earlier exp/baseline/model.safetensors"
        in shown
    )
    start[str(exp / "baseline/model.safetensors")] = sha256(
        exp / "baseline/model.safetensors"
    )
    settings.write_text(json.dumps({"sha256": start}))
    rows = {r.row.key: r for r in collect(exp, "music", "general_test")}
    assert rows["no_prompt"].scores and rows["soft_prompt"].versus.wer is not None


def test_rows_of_other_references_are_left_out(tree, tmp_path, capsys):
    exp = tmp_path / "exp"
    shutil.copytree(tree / "exp", exp)
    reference = exp / "music/no_prompt/decode_plain/music_test/score_wer/ref.trn"
    first, _, others = reference.read_text().partition("\n")
    reference.write_text(f"mended {first}\n{others}")
    found = [result.row.key for result in collect(exp, "music", "general_test")]
    assert found == ["base", "soft_prompt"]
    assert "without no prompt: scored on other references" in capsys.readouterr().out


def test_rows_that_were_searched_otherwise_are_left_out(tree, tmp_path, capsys):
    """A table tests and ranks rows of one search; what differs in it is no gain."""
    exp = tmp_path / "exp"
    shutil.copytree(tree / "exp", exp)
    for system, beam in (("base", 4), ("no_prompt", 4), ("soft_prompt", 8)):
        path = exp / "music" / system / "decode_plain" / "decode.json"
        made_of = {"config": {"beam": beam}, "weights": {}}
        path.write_text(json.dumps(made_of))
    found = [result.row.key for result in collect(exp, "music", "general_test")]
    assert found == ["base", "no_prompt"]
    shown = capsys.readouterr().out
    assert "without soft prompt: searched with other settings than base" in shown
