"""The reference is of this code, and the documents' commands are understood."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from spft.bin.document import descriptions, reference

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("egs2/*/asr1/README.md")),
]


def test_the_reference_is_of_this_code():
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == reference(), "run python -m spft.bin.document"
    assert "|  |  |" not in page


def test_descriptions_go_over_lines():
    args = "Args:\n    a: one\n        more.\n    **b: two."
    assert descriptions(f"What.\n\n{args}\n\nRaises:\n    c: no.") == {
        "a": "one more.",
        "b": "two.",
    }


def commands(page):
    """Those that are whole, each on one line: of code blocks and in sentences."""
    text = page.read_text(encoding="utf-8")
    fence = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.M | re.S)
    lines = "".join(fence.findall(text)).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`([^`]+)`", fence.sub("", text).replace("\n", " "))
    for line in lines:
        for command in re.split(r"[|;>]", re.sub(r"\s#.*", "", line)):
            whole = not re.search("…|--help", command)
            if whole and re.search(r"spft\.bin\.\w+ |\.sh ", command):
                yield command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_understood(page):
    for command in commands(page):
        if found := re.search(r"python -m spft\.bin\.(\w+) (.*)", command):
            name, options = found.groups()
            parser = importlib.import_module(f"spft.bin.{name}").get_parser()
            parser.parse_args(shlex.split(options))
        elif found := re.search(r"([\w/.]*(?:run|studies)\.sh) (.*)", command):
            script = found[1] if "studies" in found[1] else "run.sh"
            header = (ROOT / script).read_text().split("\n\n")[1]
            known = re.findall(r"^([a-z_]+)=", header, re.M)
            for option in re.findall(r"(?<!\S)--(\w+)", found[2].split('"')[0]):
                assert option in known, command


def test_documents_have_commands():
    found = [command for page in PAGES for command in commands(page)]
    assert sum("spft.bin" in command for command in found) > 10
    assert sum("run.sh" in command for command in found) > 10
