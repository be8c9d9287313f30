"""What the stages of run.sh have in common: local/helpers.sh."""

import signal
import subprocess
import time
from itertools import combinations
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "local/helpers.sh"


def bash(script, folder):
    die = 'die() { echo "error: $*" >&2; exit 1; }'
    return subprocess.Popen(
        ["bash", "-c", f"set -euo pipefail; {die}; . {HELPERS}; {script}"],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # As a terminal begins it: under nohup no script could catch SIGHUP.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )  # fmt: skip


def test_a_sum_of_what_is_not_there(tmp_path):
    process = bash("a=$(sum_of no/such/file); echo $a", tmp_path)
    assert process.communicate()[0].strip() and process.returncode == 0


def test_whose_configuration_is_read(tmp_path):
    """The preset's before the domain's, that before the default."""
    places = ("conf/presets/mine", "egs2/music/asr1/conf", "conf")
    for n in range(len(places) + 1):
        for there in combinations(places, n):
            folder = tmp_path / ("of " + "".join(str(places.index(p)) for p in there))
            folder.mkdir()
            for place in there:
                (folder / place).mkdir(parents=True, exist_ok=True)
                (folder / place / "lm.yaml").touch()
            process = bash("preset=mine; conf lm.yaml music", folder)
            found, error = process.communicate()
            if there:
                assert found.strip() == f"{there[0]}/lm.yaml"
            else:
                assert process.returncode == 1
                assert error == "error: no configuration lm.yaml\n"


def test_commands_of_other_domains_are_kept(tmp_path):
    for name in ("music", "music_hi", "my_medical", "librispeech"):
        script = tmp_path / "egs2" / name / "asr1" / "local" / "data.sh"
        script.parent.mkdir(parents=True)
        script.touch()
    for exp in ("exp", "my_medical/exp"):
        kept = f"train --out {exp}/my_medical/prompt  # 3 s\n"
        log = tmp_path / exp / "commands.log"
        log.parent.mkdir(parents=True)
        log.write_text(
            f"cp -r a {exp}/baseline # 0 s\n{kept}train --out {exp}/music/lm # 1 s\n"
        )
        for domain in ("music", "music_hi"):
            with log.open("a") as stream:
                stream.write(f"score --data data/{domain}_test  # 0 s\n")
            process = bash(f"exp={exp}; domains={domain}; forget_commands", tmp_path)
            assert process.wait() == 0
            assert log.read_text() == kept


@pytest.mark.parametrize(
    "number, status", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_all_that_was_begun(tmp_path, number, status):
    """Also what a job left in the background, after it cleared up."""
    (tmp_path / "job.sh").write_text(
        "trap 'sleep .3; touch cleared; exit 1' TERM\n"
        "sleep 300 & echo $! >sleeper\n"
        "wait\n"
    )
    process = bash("end_with_jobs; job bash job.sh", tmp_path)
    sleeper = tmp_path / "sleeper"
    for _ in range(100):
        if sleeper.exists() and sleeper.read_text().strip():
            break
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(timeout=30) == status
    assert (tmp_path / "cleared").exists()
    stat = Path("/proc", sleeper.read_text().strip(), "stat")
    assert not stat.exists() or stat.read_text().split(")")[1].split()[0] == "Z"


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_a_domain_that_fails_does_not_stop_the_others(tmp_path, jobs):
    fake = '[ "$1" != first ] || die broken; touch "$1"'
    process = bash(
        f". {HELPERS.with_name('adapt.sh')}; adapt() {{ {fake}; }}; nj={jobs}; "
        'domains="first second"; OMP_NUM_THREADS=2; end_with_jobs; adapt_all',
        tmp_path,
    )
    _, error = process.communicate()
    assert process.returncode == 1 and (tmp_path / "second").exists()
    assert error.splitlines()[-1] == "error: failed, see above: first"
