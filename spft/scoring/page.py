"""The report as one page that needs no network: data and audio are inside it."""

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spft.data.table import read_table
from spft.scoring.align import align
from spft.scoring.collect import RowScores, outdated, read_json, trained_stages
from spft.scoring.inputs import read_scoring_set
from spft.scoring.table import HEADER, table_cells

TEMPLATE = Path(__file__).with_name("page.html")
AUDIO_BYTES = 24_000_000  # of a domain's files; beyond it utterances have no player
MIME = {".ogg": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav",
        ".flac": "audio/flac", ".mp3": "audio/mpeg"}  # fmt: skip
CONFUSIONS = 30  # entities listed for each system
DRAWS = 1000  # of the bootstrap behind an interval


def write_page(
    stream, exp: Path, data: Path, results: Mapping[str, Sequence[RowScores]]
) -> None:
    """Write the page of ``results`` (rows by domain) to a text stream.

    Args:
        stream: an open text file.
        exp: experiments.
        data: data directories, for references and audio.
        results: what :func:`spft.scoring.collect.collect` gave for each domain.
    """
    content = {
        name: domain_content(exp, data, name, rows) for name, rows in results.items()
    }
    # "</" would end the script element that holds it.
    text = json.dumps(content, ensure_ascii=False).replace("</", "<\\/")
    header = json.dumps(HEADER, ensure_ascii=False)
    page = TEMPLATE.read_text(encoding="utf-8").replace("/*HEADER*/null", header)
    stream.write(page.replace("/*CONTENT*/null", text))


def domain_content(
    exp: Path, data: Path, domain: str, results: Sequence[RowScores]
) -> dict:
    """All that the page shows of a domain, as JSON."""
    test = f"{domain}_test"
    scored = [result for result in results if result.scores]
    systems = [system_content(exp, data / test, domain, row) for row in scored]
    wavs = read_table(data / test / "wav.scp")
    prompt = exp / domain / "prompt_map.json"
    return {
        "systems": systems,
        "audio": audio_content(list(wavs.items())),
        "curves": curves(exp, domain),
        "prompt": None if outdated(prompt) else read_json(prompt),
        "diagnosis": diagnose(exp, domain, {r.row.key: r for r in scored}),
    }


def system_content(exp: Path, test: Path, domain: str, result: RowScores) -> dict:
    """One row's figures and aligned utterances."""
    decode = result.row.folder(exp, domain)
    folder = decode / test.name
    scoring = read_scoring_set(test, folder)
    utterances, counts = {}, []
    for name, hypothesis in scoring.hyps.items():
        reference = scoring.refs[name] if scoring.refs else ()
        path = align(reference, hypothesis) if scoring.refs else []
        steps = [[word.op, word.ref, word.hyp] for word in path]
        steps = steps or [["", None, word] for word in hypothesis]
        spans = [asdict(e) for e in (scoring.entities or {}).get(name, ())]
        wrong = sum(word.op != "C" for word in path)
        counts.append((wrong, len(reference)))
        utterances[name] = {"steps": steps, "entities": spans, "errors": wrong}
    judged = read_json(folder / "score_entity" / "result.json") or {}
    entities = list(judged.get("utterances", {}).values())
    return {
        "key": result.row.key,
        "label": result.row.label,
        "cells": table_cells([result])[0],
        "wer": result.scores["wer"],
        "eer": result.scores["eer"],
        "wer_interval": interval(counts) if scoring.refs else None,
        "eer_interval": interval(entities) if entities else None,
        "utterances": utterances,
        "confusions": entity_confusions(folder / "score_entity" / "errors.tsv"),
        "sweep": (read_json(decode / "decode.json") or {}).get("sweep", []),
    }


def interval(counts: Sequence[Sequence[int]]) -> list[float]:
    """95 % bootstrap interval (percent) of errors over totals, by utterance."""
    pairs, rng = np.asarray(counts, dtype=float), np.random.default_rng(0)
    draws = (rng.integers(0, len(pairs), len(pairs)) for _ in range(DRAWS))
    errors, totals = np.array([pairs[draw].sum(axis=0) for draw in draws]).T
    rates = 100 * errors / np.maximum(totals, 1)
    return [round(float(bound), 2) for bound in np.percentile(rates, [2.5, 97.5])]


def entity_confusions(path: Path) -> list[list]:
    """``[type, reference, recognised, times]``, the most frequent first."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    found = Counter(tuple(line.split("\t")[1:4]) for line in lines)
    return [[*key, times] for key, times in found.most_common(CONFUSIONS)]


def audio_content(wavs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Data URLs of recordings, as many as the page has room for."""
    urls, left = {}, AUDIO_BYTES
    for utterance, name in wavs:
        path = Path(name)
        mime = MIME.get(path.suffix.lower())
        if not mime or not path.exists() or path.stat().st_size > left:
            continue
        left -= path.stat().st_size
        coded = base64.b64encode(path.read_bytes()).decode("ascii")
        urls[utterance] = f"data:{mime};base64,{coded}"
    return urls


def curves(exp: Path, domain: str) -> list[dict]:
    """Training and validation losses of the stages, from ESPnet's TensorBoard logs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for folder in [exp / "baseline", *trained_stages(exp / domain)]:
        curve = {"stage": folder.name}
        for part in ("train", "valid"):
            if not (folder / "tensorboard" / part).is_dir():
                continue
            events = EventAccumulator(str(folder / "tensorboard" / part))
            events.Reload()
            tags = [t for t in ("loss", "epoch/loss") if t in events.Tags()["scalars"]]
            if tags:
                points = events.Scalars(tags[0])
                curve[part] = [[p.step, round(p.value, 4)] for p in points]
        if len(curve) > 1:
            found.append(curve)
    return found


def diagnose(exp: Path, domain: str, rows: Mapping[str, RowScores]) -> list[str]:
    """Known signs of failure, in words: what is seen and what it may mean."""
    base, said = rows.get("base"), []
    if base is None:
        return said
    for key, row in rows.items():
        if key == "first_pass" or row.row.tag == "lm":
            continue
        if row is not base:
            said += _against_base(row, base)
        fused = rows.get(f"{key}_lm")
        if fused and None not in (fused.scores["wer"], row.scores["wer"]):
            gain = row.scores["wer"] - fused.scores["wer"]
            if gain <= 0:
                nbest = fused.row.folder(exp, domain) / f"{domain}_test/nbest.jsonl"
                why = "no weight above 0 helped on dev"
                if any(fused.weights.values()):
                    why = _overlap(score_correlation(nbest))
                said.append(
                    f"{row.row.label}: fusion takes no word errors away "
                    f"({abs(gain):+.2f}): {why}; see the sweep of weights."
                )
    prompt, plain = rows.get("soft_prompt"), rows.get("no_prompt")
    if prompt and plain and prompt.versus.wer is not None:
        better = prompt.scores["wer"] < plain.scores["wer"]
        if prompt.versus.wer >= 0.05:
            said.append(
                "soft prompt and no prompt do not differ in words "
                f"(p = {prompt.versus.wer:.2f}): the prompt may have learnt "
                "nothing that plain text tuning does not."
            )
        elif not better:
            said.append("soft prompt: significantly worse than no prompt in words.")
    return said or ["None of the known signs of failure is there."]


def score_correlation(nbest: Path) -> dict[str, float]:
    """How alike the LLM and each external LM judge the hypotheses of an utterance.

    Returns:
        Pearson's r between the LLM's and the LM's score over all hypotheses, each less
        its utterance's mean, by the LM's name; empty where no LM took part.
    """
    if not nbest.exists():
        return {}
    lists: dict[str, list[dict]] = {}
    for line in nbest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        lists.setdefault(row["utt"], []).append(row["parts"])
    found = {}
    for name in ("lm", "ngram"):
        pairs = [
            np.array([[parts["llm"], parts[name]] for parts in rows])
            for rows in lists.values()
            if all(name in parts for parts in rows)
        ]
        centred = np.concatenate([pair - pair.mean(0) for pair in pairs] or [[]])
        if len(centred) > 2 and (centred.std(0) > 0).all():
            found[name] = round(float(np.corrcoef(centred.T)[0, 1]), 2)
    return found


def _overlap(correlation: Mapping[str, float]) -> str:
    """What the correlation of scores says about a fusion that brings nothing."""
    if not correlation:
        return "LM and decoder may know the same"
    shown = ", ".join(f"{name} r = {r:.2f}" for name, r in correlation.items())
    same = max(correlation.values()) >= 0.5
    judge = "know much the same" if same else "judge differently, and yet no gain"
    return f"LM and decoder {judge} (scores in n-best lists: {shown})"


# Why a row may be no better than base, by the tag of its decode.
REASONS = {
    "plain": {
        "eer": "the text may lack these entities, or step 1 learnt nothing",
        "wer": "forgetting, or training and recognition see different prefixes",
        "general": "some of the general domain is forgotten",
        "unseen": "names of the text stand where others are said",
    },
    "second": {
        "eer": "the text may lack these entities (see EER seen and unseen)",
        "wer": "dev may be too small for its weights, or unlike the test",
        "general": "names of the domain are read into other speech",
        "unseen": "names of the text stand where others are said; "
        "dev may hold fewer such others, and its weights go by it",
    },
}
UNSEEN_RISE = 3.0  # percent, of the few entities that the text lacks


def _against_base(row: RowScores, base: RowScores) -> list[str]:
    said, label = [], row.row.label
    reasons = REASONS[row.row.tag]
    for name in ("eer", "wer"):
        ours, theirs = row.scores.get(name), base.scores.get(name)
        if ours is not None and theirs is not None and ours >= theirs:
            said.append(f"{label}: {name.upper()} is {ours:.2f}, no better than base's "
                        f"{theirs:.2f}: {reasons[name]}.")  # fmt: skip
    ours, theirs = (r.scores.get("eer_unseen") for r in (row, base))
    if None not in (ours, theirs) and ours - theirs >= UNSEEN_RISE:
        said.append(f"{label}: EER of entities that the text lacks rises from "
                    f"{theirs:.2f} to {ours:.2f}: {reasons['unseen']}.")  # fmt: skip
    ours, theirs = (r.general and r.general.get("wer") for r in (row, base))
    if ours is not None and theirs is not None and ours > theirs:
        said.append(f"{label}: general WER rises from {theirs:.2f} to {ours:.2f}: "
                    f"{reasons['general']}.")  # fmt: skip
    return said
