"""Pack trained systems into one archive (stage 9).

    python -m spft.bin.pack --exp exp --data data --out exp/pack.zip \
        --systems music=base,no_prompt,soft_prompt chatbot=soft_prompt

For each domain: the system's adapters, prompt and configuration, its external LMs with
the weights that stage 7 chose on dev and the search that it did, the phrases for its
second pass; and the baseline, as the domain ``base``. Of several systems of a domain
the one with the fewest errors on the development sets that its weights were chosen on
is packed: of second passes, general dev is among them. The pretrained models are named
with checksums, not packed.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spft.errors import UserError, run
from spft.search.decodes import TAGS


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--exp", type=Path, default=Path("exp"), help="default: exp")
    add("--systems", nargs="*", default=[], help="DOMAIN=SYSTEM[,SYSTEM…]")
    add("--data", type=Path, default=Path("data"), help="texts of the domains")
    add("--config", help="YAML of the search where stage 7 did none; default: built in")
    add("--results", type=Path, help="RESULTS.md to pack with them")
    add("--out", type=Path, required=True, help="archive to write")
    add("--no_fusion", action="store_true", help="without LMs, phrases, second pass")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    from spft.pack import BASE, Domain, write_pack
    from spft.search.config import DecodeConfig
    from spft.search.phrases import Phrases

    domains, tags = {}, TAGS[:1] if args.no_fusion else TAGS
    for item in args.systems:
        domain, _, systems = item.partition("=")
        if not systems or domain in domains or domain == BASE:
            raise UserError(f"--systems: DOMAIN=SYSTEM, each domain once, not {item!r}")
        names = systems.split(",")
        system = best_system(args.exp / domain, names, tags)
        domains[domain] = find_domain(args.exp, domain, system, tags)
        if len(names) > 1:
            errors = dev_errors(args.exp / domain, names, tags).items()
            figures = ", ".join(f"{name} {error:.2f}" for name, error in errors)
            print(f"{domain}: {system} is packed; dev errors (%): {figures or '–'}")
    domains[BASE] = Domain(args.exp / "baseline")
    for domain in domains.values():
        if not (domain.model / "model.safetensors").exists():
            raise UserError(
                f"{domain.model}: no trained model; run stages 3 to 5 first"
            )
    if args.results and not args.results.exists():
        raise UserError(f"{args.results}: not found; run stage 8 first")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in domains.keys() - {BASE}:
            text = args.data / f"{name}_text" / "train"
            if (text / "entities").exists():
                names = Path(temporary) / f"{name}.tsv"
                write_names(text / "entities", names)
                domains[name] = replace(domains[name], names=names)
            if domains[name].second:
                phrases = Path(temporary) / f"{name}.txt"
                Phrases.of(text).write(phrases)
                domains[name] = replace(domains[name], phrases=phrases)
        write_pack(domains, DecodeConfig.read(args.config), args.out, args.results)
    size = args.out.stat().st_size / 1e6
    print(f"{args.out}: {', '.join(domains)}; {size:.1f} MB")


def write_names(entities: Path, out: Path) -> None:
    """Write each entity of a table once, as a line of name and type."""
    from spft.data.entities import read_entities

    found = {(e.text, e.type) for row in read_entities(entities).values() for e in row}
    lines = [f"{text}\t{kind}\n" for text, kind in sorted(found)]
    out.write_text("".join(lines), encoding="utf-8")


def best_system(
    folder: Path, systems: Sequence[str], tags: Sequence[str] = TAGS
) -> str:
    """Find the system of fewest errors there; the last, if none was judged."""
    errors = dev_errors(folder, systems, tags)
    return min(errors, key=errors.get, default=systems[-1])


def dev_errors(
    folder: Path, systems: Sequence[str], tags: Sequence[str] = TAGS
) -> dict[str, float]:
    """Error rates (%) by which the weights were chosen: on dev and, of second passes,
    on general dev, in the last way that all systems were decoded.

    Args:
        folder: of the domain's systems.
        systems: names. One that was not judged on dev has no figure.
        tags: of the decodes to look at.
    """
    from spft.scoring.collect import read_json

    errors: dict[str, dict[str, float]] = {tag: {} for tag in tags}
    for system in systems:
        for tag in tags:
            report = read_json(folder / system / f"decode_{tag}" / "decode.json")
            for row in report["sweep"] if report else ():
                if row.items() >= report["weights"].items():  # those that were chosen
                    errors[tag][system] = row["error"]
    judged = set().union(*errors.values())
    for tag in reversed(tags):
        if errors[tag].keys() == judged:
            return errors[tag]
    return {}


def find_domain(exp: Path, domain: str, system: str, tags: Sequence[str] = TAGS):
    """What stages 5 to 7 left for a system; without fusion if that was not decoded,
    or is not among ``tags``.

    Raises:
        UserError: it was not decoded, or with other models than those of today.
    """
    from spft.pack import BASE, Domain
    from spft.scoring.collect import read_json
    from spft.scoring.lineage import changed

    folder = exp / domain / system
    weights: dict[str, dict[str, float]] = {tag: {} for tag in TAGS}
    config = None
    if not (folder / "decode_plain" / "decode.json").exists():
        raise UserError(
            f"{folder}: not decoded since it was trained; run stage 7 first"
        )
    for tag in tags:
        path = folder / f"decode_{tag}" / "decode.json"
        report = read_json(path) or {}
        if other := changed(report.get("sha256", {})):
            raise UserError(f"{path}: made from an earlier {other}; run stage 7 again")
        config = report.get("config", config)
        weights[tag] = report.get("weights", {})
    if config and config["keep_prompt"]:
        raise UserError(
            f"{folder}: decoded with its prompt kept, which a pack of several domains "
            "cannot do; run stage 7 again without --keep_prompt (in decode.yaml: "
            "keep_prompt)"
        )
    # The second pass chooses its candidates by the n-gram, whatever that one's weight.
    searched, second = weights["lm"], weights["second"]
    external = {
        name: exp / domain / name
        for name in ("lm", "ngram")
        if searched.get(name) or name in second or (second and name in searched)
    }
    for path in external.values():
        if not path.is_dir():
            raise UserError(f"{path}: not there, but stage 7 used it; run stage 6")
    model = exp / "baseline" if system == BASE else folder
    used = {name: weight for name, weight in searched.items() if weight}
    # Weights of 0 stay in the second pass: with none at all there would be no pass.
    return Domain(model, external, used, second=second, decode=config)


if __name__ == "__main__":
    run(main)
