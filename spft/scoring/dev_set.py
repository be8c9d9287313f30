"""Errors on a development set, to choose weights by."""

from pathlib import Path

from spft.errors import UserError


class DevSet:
    """What is to be recognised in a data directory, and how much of it is wrong.

    Args:
        folder: with ``text``, whose words are counted; or with ``entities`` alone,
            which are looked for in the hypotheses.

    Attributes:
        measure: "wer" or "eer".

    Raises:
        UserError: there is nothing to be recognised.
    """

    def __init__(self, folder: Path):
        from spft.scoring.inputs import read_transcripts, reference_entities

        self.folder, self.transcripts, self.entities = folder, {}, {}
        if (folder / "text").exists():
            self.measure, self.transcripts = "wer", read_transcripts(folder / "text")
            self._total = sum(map(len, self.transcripts.values()))
        else:
            self.measure = "eer"
            self.entities = reference_entities(folder / "entities", None)
            self._total = sum(map(len, self.entities.values()))
        if not self._total:
            raise UserError(
                f"{folder}: neither words nor entities to choose weights by"
            )

    def errors(self, utterance: str, text: str) -> float:
        """Wrong words or entities of a hypothesis, in percent of the whole set's."""
        import jiwer

        from spft.data.normalize import normalize
        from spft.scoring.entity import judge_entities

        words = normalize(text)
        if self.transcripts:
            if utterance not in self.transcripts:
                raise UserError(f"{self.folder}/text: {utterance!r} is not in it")
            found = jiwer.process_words(" ".join(self.transcripts[utterance]), words)
            wrong = found.substitutions + found.deletions + found.insertions
        else:
            entities = {utterance: self.entities.get(utterance, ())}
            hypothesis = {utterance: tuple(words.split())}
            judged = judge_entities(None, hypothesis, entities)
            wrong = sum(not entity.right for entity in judged)
        return 100 * wrong / self._total

    def error_rate(self, texts: dict[str, str]) -> float:
        """WER or EER of all hypotheses, in percent."""
        return sum(self.errors(utterance, text) for utterance, text in texts.items())
