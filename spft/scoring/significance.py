"""Whether two systems differ: matched-pair segments for WER, sign flips for EER."""

import math
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from spft.errors import UserError
from spft.scoring.align import AlignedWord, align
from spft.scoring.inputs import Transcripts
from spft.scoring.wer import find_tool, write_trn

BOUNDARY_WORDS = 2  # correct in both systems between two segments, as in sc_stats
DRAWS = 10_000


def mapsswe(refs: Transcripts, hyps_a: Transcripts, hyps_b: Transcripts) -> float:
    """Two-tailed p of the Matched-Pair Sentence-Segment Word Error test.

    By sctk's ``sc_stats -t mapsswe`` where it is found, else as :func:`own_mapsswe`.
    """
    if not refs.keys() == hyps_a.keys() == hyps_b.keys():
        raise UserError("systems scored on different utterances; score them again")
    differences = segment_differences(refs, hyps_a, hyps_b)
    # sctk takes equal differences, however many, for chance.
    if _has_sctk() and len(set(differences)) > 1:
        return _sctk_mapsswe(refs, hyps_a, hyps_b)
    return own_mapsswe(differences)


def mapsswe_tool() -> str:
    """By what :func:`mapsswe` tests here, for reports."""
    return "sctk's mapsswe" if _has_sctk() else "our own mapsswe: sctk was not found"


def _has_sctk() -> bool:
    return all(find_tool(name) for name in ("sclite", "sc_stats"))


def _sctk_mapsswe(refs: Transcripts, hyps_a: Transcripts, hyps_b: Transcripts) -> float:
    sclite, sc_stats = find_tool("sclite"), find_tool("sc_stats")
    with tempfile.TemporaryDirectory() as folder:
        for name, texts in (("ref", refs), ("a", hyps_a), ("b", hyps_b)):
            # Numbered, because sctk changes the case of utterance ids.
            numbered = {str(i): texts[utt] for i, utt in enumerate(refs)}
            write_trn(
                Path(folder, f"{name}.trn"), numbered, dict.fromkeys(numbered, "all")
            )
        command = [sclite, "-r", "ref.trn", "trn", "-i", "rm", "-o", "sgml", "stdout"]
        sgml = "".join(
            _output([*command, "-h", f"{name}.trn", "trn", name], folder)
            for name in "ab"
        )
        _output([sc_stats, "-p", "-t", "mapsswe", "-v", "-n", "test"], folder, sgml)
        report = Path(folder, "test.stats.mapsswe")
        text = report.read_text("utf-8", "replace") if report.is_file() else ""
    # The Z statistic, because the printed p ends at 0.001.
    match = re.search(r"\(Z Stat: +(-?[\d.]+|-?nan)\)", text)
    if not match:
        raise UserError("sc_stats made no mapsswe report; check the sctk installation")
    return 1.0 if "nan" in match[1] else two_tailed_p(float(match[1]))


def _output(command: list[str], folder: str, text: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-200:]}")
    return done.stdout


def segment_differences(
    refs: Transcripts, hyps_a: Transcripts, hyps_b: Transcripts
) -> list[int]:
    """In how many errors two systems differ, for each segment that holds any.

    Sentences are cut where two words in a row are right in both.
    """
    return [
        a - b
        for utt, ref in refs.items()
        for a, b in segment_errors(align(ref, hyps_a[utt]), align(ref, hyps_b[utt]))
    ]


def own_mapsswe(differences: list[int]) -> float:
    """The same test (Gillick and Cox, 1989) without sctk.

    The mean of :func:`segment_differences` is tested against 0 under a normal
    distribution. Without any spread in them, p is that of as many equal signs in a row.
    """
    if not any(differences):
        return 1.0
    if np.std(differences) == 0:
        return 2.0 ** (1 - len(differences))
    error = np.std(differences, ddof=1) / math.sqrt(len(differences))
    return two_tailed_p(np.mean(differences) / error)


def two_tailed_p(z: float) -> float:
    """Probability that a standard normal variable is at least as extreme as ``z``."""
    return math.erfc(abs(z) / math.sqrt(2))


def segment_errors(
    path_a: Sequence[AlignedWord], path_b: Sequence[AlignedWord]
) -> list[tuple[int, int]]:
    """Errors of both systems in each segment with errors of one sentence."""
    segments, current, good = [], (0, 0), 0
    for a, b in zip(_word_errors(path_a), _word_errors(path_b), strict=True):
        if a[0] or b[0]:  # insertions before the word, or at the end
            current, good = (current[0] + a[0], current[1] + b[0]), 0
        if a[1] or b[1]:
            current, good = (current[0] + a[1], current[1] + b[1]), 0
        else:
            good += 1
        if good >= BOUNDARY_WORDS and any(current):
            segments.append(current)
            current = (0, 0)
    return [*segments, current] if any(current) else segments


def _word_errors(path: Sequence[AlignedWord]) -> list[list[int]]:
    """``[insertions before it, whether it is wrong]`` of each word and of the end."""
    errors = [[0, 0]]
    for word in path:
        if word.op == "I":
            errors[-1][0] += 1
        else:
            errors[-1][1] = int(word.op != "C")
            errors.append([0, 0])
    return errors


def sign_flips(
    errors_a: Mapping[str, int],
    errors_b: Mapping[str, int],
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """Two-sided p of a difference in EER, by paired permutations over utterances.

    If two systems were alike, each utterance's errors might as well be the other's. So
    p is how often the sum of the differences is as large as it is when their signs are
    drawn; of a few utterances that differ all signs are tried instead.

    Args:
        errors_a: entity errors of each utterance that has entities.
        errors_b: the same of the other system; the numbers of entities are the same,
            so that the summed differences are those of the rates.
        draws: of the signs.
        seed: of the drawing.
    """
    from scipy.stats import permutation_test

    if errors_a.keys() != errors_b.keys():
        raise UserError("systems scored on different entities; score them again")
    differences = np.array([errors_a[utt] - errors_b[utt] for utt in errors_a])
    differences = differences[differences != 0]
    if len(differences) < 2:  # as likely the other way round
        return 1.0
    result = permutation_test(
        (differences,),
        lambda signed, axis: signed.sum(axis),
        permutation_type="samples",
        n_resamples=draws,
        batch=1000,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)
