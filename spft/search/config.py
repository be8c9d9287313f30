"""How to search: the keys of ``conf/decode.yaml``."""

from dataclasses import asdict, dataclass, field

from spft.errors import UserError
from spft.files import read_yaml

SECOND_PASS = (
    "variants",
    "variants_kept",
    "second_pass_weights",
    "gates",
)


@dataclass(frozen=True)
class DecodeConfig:
    """The keys of ``conf/decode.yaml``.

    Attributes:
        beam: hypotheses kept per utterance; also the size of the n-best list, in which
            the first pass takes its place where the search did not find it.
        batch_size: utterances searched at once.
        ctc_weight: of the CTC head's prefix score beside the LLM's, where the projector
            has such a head.
        first_pass_weight: of the score that the encoder's own decoder gives to each
            hypothesis of the n-best list, where there is such a decoder. With 0 its
            transcript, the first pass, does not join the list either.
        pre_beam: how many tokens of each hypothesis CTC head and n-gram judge, those
            that LLM and LM like best; at least twice the beam.
        length_bonus: added per token, in the search alone.
        lm_length_bonus: added per token for each unit of external LM weight, or fusion
            would delete words: up to what a token costs an LM in nats, less where the
            CTC head holds the words.
        max_tokens_ratio: most tokens of a hypothesis, per position of the audio prefix;
            a longer one is cut there.
        max_tokens_offset: tokens added to that limit.
        no_repeat_ngram_size: no n-gram of so many tokens occurs twice in a hypothesis,
            or the decoder might loop; 0 allows all.
        keep_prompt: a model that has a soft prompt keeps it, before the audio.
        lm_weights: LM weights to try on dev beside 0, without the n-gram.
        ngram_weights: those of the n-gram, then, with the chosen LM weight.
        variants: how many variants of a hypothesis, a run of its words replaced by a
            phrase of the domain, the second pass considers: the closest in spelling.
        variants_kept: how many of an utterance's variants all models judge.
        second_pass_weights: values to choose each judge's weight from, on dev and
            general dev; the LLM has weight 1.
        gates: thresholds to choose from, together with these: external LMs judge an
            utterance only if the n-gram (without one, the LM) finds what was heard so
            much likelier than the LLM without the audio does, in nats per token.
    """

    beam: int = 4
    batch_size: int = 32
    ctc_weight: float = 0.1
    first_pass_weight: float = 0.3
    pre_beam: int = 16
    length_bonus: float = 0.0
    lm_length_bonus: float = 1.0
    max_tokens_ratio: float = 1.5
    max_tokens_offset: int = 10
    no_repeat_ngram_size: int = 4
    keep_prompt: bool = False
    lm_weights: list[float] = field(default_factory=lambda: [0.2, 0.4])
    ngram_weights: list[float] = field(default_factory=lambda: [0.3, 0.6])
    variants: int = 24
    variants_kept: int = 4
    second_pass_weights: dict[str, list[float]] = field(
        default_factory=lambda: {
            "ctc": [0.0, 0.1, 0.2, 0.4, 0.8, 1.2],
            "first_pass": [0.0, 0.5, 1.0, 2.0, 4.0, 7.0],
            "lm": [0.0, 0.2, 0.4, 0.6, 1.0],
            "ngram": [0.0, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0],
        }
    )
    gates: list[float] = field(
        default_factory=lambda: [-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    )

    def of_search(self) -> dict:
        """The keys that the search reads; the others are the second pass's alone."""
        return {k: v for k, v in asdict(self).items() if k not in SECOND_PASS}

    @classmethod
    def read(cls, path: str | None) -> "DecodeConfig":
        """Read a YAML file; None gives the defaults.

        Raises:
            UserError: the file is missing, holds a key that nothing reads, or a value
                that makes no sense.
        """
        if path is None:
            return cls()
        keys = read_yaml(path)
        if unknown := sorted(keys.keys() - cls.__dataclass_fields__.keys()):
            known = sorted(cls.__dataclass_fields__)
            raise UserError(f"{path}: unknown keys {unknown}; known: {known}")
        for key, value in keys.items():
            if reason := cls._fault(key, value):
                raise UserError(f"{path}: {key}: {value!r} {reason}")
        judges = cls.__dataclass_fields__["second_pass_weights"].default_factory()
        if unknown := sorted(keys.get("second_pass_weights", {}).keys() - judges):
            raise UserError(
                f"{path}: second_pass_weights: unknown judges {unknown}; known: "
                f"{sorted(judges)}"
            )
        return cls(**keys)

    @classmethod
    def _fault(cls, key: str, value) -> str | None:
        """What is wrong with a value, if anything."""
        from typeguard import TypeCheckError, check_type

        try:
            check_type(value, cls.__dataclass_fields__[key].type)
        except TypeCheckError as error:
            return str(error)
        if key in ("beam", "batch_size", "pre_beam") and value < 1:
            return "is less than 1"
        grids = [*value.values()] if isinstance(value, dict) else [value]
        if not grids or any(isinstance(grid, list) and not grid for grid in grids):
            return "leaves nothing to choose from"
        numbers = [n for g in grids for n in (g if isinstance(g, list) else [g])]
        if key not in ("length_bonus", "gates") and min(numbers) < 0:
            return "is negative"
        return None
