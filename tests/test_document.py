from pathlib import Path

from spft.bin.document import descriptions, reference


def test_the_reference_is_of_this_code():
    page = Path("docs/configuration.md").read_text(encoding="utf-8")
    assert page == reference(), "run python -m spft.bin.document"
    assert "|  |  |" not in page


def test_descriptions_go_over_lines():
    args = "Args:\n    a: one\n        more.\n    **b: two."
    assert descriptions(f"What.\n\n{args}\n\nRaises:\n    c: no.") == {
        "a": "one more.",
        "b": "two.",
    }
