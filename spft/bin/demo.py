"""A page to try a pack in: record or drop audio, compare domains side by side.

    python -m spft.bin.demo --model exp/pack.zip

Needs gradio (``pip install gradio``), which nothing else here does.
"""

import argparse
import html
from difflib import SequenceMatcher
from pathlib import Path

from spft.data.own_domain import Lexicon
from spft.errors import UserError, run


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, type=Path, help="pack, or folder of a trained stage")
    add("--host", default="127.0.0.1", help="default: %(default)s, this machine alone")
    add("--port", type=int, default=7860, help="default: %(default)s")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise UserError("the demo needs gradio: pip install gradio") from None
    from spft.speech2text import Speech2Text

    page = build(Speech2Text.from_pretrained(args.model))
    page.launch(server_name=args.host, server_port=args.port)


def build(asr):
    """The page around a :class:`spft.speech2text.Speech2Text`."""
    import gradio

    from spft.data.audio import LONG_SECONDS, duration
    from spft.pack import BASE

    def compare(path: str | None, domains: list[str], names: str) -> str:
        if not path:
            raise gradio.Error("Record something or drop an audio file first.")
        try:
            if duration(path) > LONG_SECONDS:
                raise UserError(
                    f"Longer than {LONG_SECONDS} s: cut it, or use "
                    "spft.bin.transcribe, which cuts at pauses."
                )
            found = {}
            for domain in sorted({*domains, BASE}, key=asr.domains.index):
                asr.use(domain)
                if names.strip() and domain != BASE:
                    asr.add_names(names.splitlines())
                found[domain] = asr(path)
        except UserError as error:
            raise gradio.Error(str(error)) from error
        return table(found, BASE, asr.names)

    with gradio.Blocks(title="Adapted by text alone") as page:
        gradio.Markdown("# Adapted by text alone")
        with gradio.Row():
            audio = gradio.Audio(sources=["upload", "microphone"], type="filepath")
            adapted = [domain for domain in asr.domains if domain != BASE]
            chosen = gradio.CheckboxGroup(adapted, value=adapted, label="Domains")
        names = gradio.Textbox(lines=2, label="Names that may be said, one a line")
        button = gradio.Button("Transcribe", variant="primary")
        button.click(compare, [audio, chosen, names], gradio.HTML())
    return page


def table(found: dict[str, list], base: str, names: Lexicon) -> str:
    """Transcripts by domain as HTML, with the ``names`` in each.

    Words and names that the baseline has not are marked.
    """
    plain = found[base][0].text.split() if found.get(base) else []
    known = {name["text"] for name in names.find(" ".join(plain))}
    rows = []
    for domain in sorted(found, key=lambda name: name != base):
        best = found[domain][0] if found[domain] else None
        words = best.text.split() if best else []
        shown = html.escape(" ".join(words)) if domain == base else marked(plain, words)
        score = f"{best.score:.2f}" if best else ""
        listed = []
        for name in names.find(" ".join(words)):
            text = f"{html.escape(name['text'])} ({html.escape(name['type'])})"
            new = domain != base and name["text"] not in known
            listed.append(f"<mark>{text}</mark>" if new else text)
        rows.append(f"<tr><th>{html.escape(domain)}</th><td>{shown}</td>"
                    f"<td>{', '.join(listed)}</td><td>{score}</td></tr>")  # fmt: skip
    titles = ("domain", "transcript", "names", "score")
    head = "<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def marked(plain: list[str], words: list[str]) -> str:
    """``words`` as HTML; those that ``plain`` has not at their place in ``<mark>``."""
    shown = []
    matcher = SequenceMatcher(None, plain, words, autojunk=False)
    for kind, _, _, start, end in matcher.get_opcodes():
        text = html.escape(" ".join(words[start:end]))
        if text:
            shown.append(text if kind == "equal" else f"<mark>{text}</mark>")
    return " ".join(shown)


if __name__ == "__main__":
    run(main)
