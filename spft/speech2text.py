"""Recognition from Python: audio in, transcripts with scores out.

from spft.speech2text import Speech2Text

asr = Speech2Text.from_pretrained("music.zip", domain="music")
asr("request.wav")[0].text
"""

import functools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spft.data.audio import LONG_SECONDS, SAMPLE_RATE, read_audio, to_16khz
from spft.data.own_domain import Lexicon, read_lexicon
from spft.data.speech import Waveforms
from spft.errors import UserError
from spft.pack import Domain, Pack, open_pack
from spft.recognizer import Recognizer
from spft.search.phrases import Phrases
from spft.search.second_pass import SecondPass

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transcript:
    """One hypothesis: its words, its score and what that is the sum of."""

    text: str
    score: float
    parts: dict[str, float]


class Speech2Text:
    """A recogniser that changes domains without loading its LLM again.

    Args:
        pack: what :func:`spft.pack.open_pack` gave.
        domain: one of :attr:`domains`; default: the first.
        search: keys of :class:`spft.search.config.DecodeConfig` to change.
    """

    def __init__(self, pack: Pack, domain: str | None = None, **search):
        self.pack, self.search = pack, search
        self.domain = domain or self.domains[0]
        chosen = pack.find(self.domain)
        keep = len(pack.domains) > 1
        config = self._config(chosen)
        if keep and config.keep_prompt:
            raise UserError(
                "keep_prompt: each domain has its own; open the stage alone"
            )
        self.recognizer = Recognizer(chosen.model, config, chosen.external, keep=keep)
        self.phrases = _phrases(chosen)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, domain: str | None = None, **search
    ) -> "Speech2Text":
        """Open an archive of stage 9, a folder unpacked from one, or a trained stage.

        Raises:
            UserError: see :func:`spft.pack.open_pack`; or there is no such domain.
        """
        return cls(open_pack(path), domain, **search)

    @property
    def domains(self) -> list[str]:
        """What :meth:`use` takes."""
        return list(self.pack.domains)

    @functools.cached_property
    def names(self) -> Lexicon:
        """The entities of all domains' adaptation texts, with their types."""
        lexicon = Lexicon()
        for domain in self.pack.domains.values():
            if domain.names:
                lexicon.add(read_lexicon(domain.names))
        return lexicon

    def add_names(self, names: Iterable[str]) -> None:
        """Let the second pass look for these too, in the domain that is in use.

        Raises:
            UserError: the domain has no second pass.
        """
        from spft.data.normalize import normalize

        if self.phrases is None:
            raise UserError(
                f"domain {self.domain!r} has no second pass, which looks for names; "
                "run stage 7 with external LMs, then pack it again"
            )
        names = {normalize(name) for name in names} - {""}
        met, llm = set(), self.recognizer.llm
        if ngram := self.recognizer.scorers.get("ngram"):
            pieces = enumerate(llm.pieces)
            words = [llm.eos, *(i for i, piece in pieces if piece.startswith(" "))]
            met = {name for name in names if ngram.has_met(self._tokens(name), words)}
        self.phrases = self.phrases.with_names(names, met)

    def use(self, domain: str) -> None:
        """Change to a domain: its adapter, its LMs, and no names but its own."""
        chosen = self.pack.find(domain)
        phrases = _phrases(chosen)
        if domain != self.domain:
            config = self._config(chosen)
            self.recognizer.switch(chosen.model, config, chosen.external)
            self.domain = domain
        self.phrases = phrases

    def __call__(
        self, speech: str | Path | np.ndarray, rate: int = SAMPLE_RATE
    ) -> list[Transcript]:
        """The n-best list of one utterance, a file or samples (``[N]``, ±1).

        It is not cut: of more than half a minute less is heard, and a warning says so;
        ``python -m spft.bin.transcribe`` cuts long recordings at their pauses.

        Raises:
            UserError: the file cannot be read or holds no speech.
        """
        return self.recognise([speech], rate)[0]

    def recognise(
        self, speech: Sequence[str | Path | np.ndarray], rate: int = SAMPLE_RATE
    ) -> list[list[Transcript]]:
        """As calling, for many utterances in batches."""
        from spft.data.normalize import normalize

        waveforms = [_samples(item, rate) for item in speech]
        longest = max(map(len, waveforms), default=0) / SAMPLE_RATE
        if longest > LONG_SECONDS:
            _log.warning(
                "speech of %.0f s: of more than %d s less is heard; "
                "spft.bin.transcribe cuts it at pauses",
                longest,
                LONG_SECONDS,
            )
        domain = self.pack.domains[self.domain]
        recognizer = self.recognizer
        utterances = {str(i): waveform for i, waveform in enumerate(waveforms)}
        source = Waveforms(utterances, recognizer.moonshine)
        nbests = recognizer.decode(source, domain.weights)
        if self.phrases is not None:
            second_pass = SecondPass(recognizer, self.phrases)
            candidates = second_pass.candidates(source, nbests)
            bonus = recognizer.config.lm_length_bonus
            nbests = {
                u: found.ranked(domain.second or {}, bonus)
                for u, found in candidates.items()
            }
        return [
            [
                Transcript(normalize(recognizer.text(h)), h.score, h.parts)
                for h in nbests[u]
            ]
            for u in utterances
        ]

    def _tokens(self, words: str) -> list[int]:
        """Those of words inside a sentence."""
        encode = self.recognizer.llm.encode
        return encode(f"a {words}")[len(encode("a")) :]

    def _config(self, domain: Domain):
        from spft.search.config import DecodeConfig

        keys = self.pack.decode if domain.decode is None else domain.decode
        return replace(DecodeConfig(**keys), **self.search)


def _phrases(domain: Domain) -> Phrases | None:
    return Phrases.read(domain.phrases) if domain.phrases else None


def _samples(speech: str | Path | np.ndarray, rate: int) -> np.ndarray:
    if not isinstance(speech, np.ndarray):
        return read_audio(speech)
    whole = np.issubdtype(speech.dtype, np.signedinteger)  # as scipy reads WAV files
    if speech.ndim != 1 or not (whole or np.issubdtype(speech.dtype, np.floating)):
        raise UserError(
            f"an array of {speech.dtype} of shape {[*speech.shape]}; give samples [N] "
            "of one channel"
        )
    samples = speech.astype(np.float32)
    if whole:
        samples /= np.iinfo(speech.dtype).max
    return to_16khz(samples, rate, "array")
