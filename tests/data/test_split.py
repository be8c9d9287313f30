from spft.data.split import cover
from spft.data.utterance import Utterance


def test_cover_takes_the_sentences_with_most_new_words():
    texts = ["a b", "a b c d", "e", "c d e f g", "a b c d e f g"]
    utterances = [Utterance(f"u{i}", text) for i, text in enumerate(texts)]
    # 7 new words of 7; after it none has a new word left, so the first is next.
    assert [u.id for u in cover(utterances, 1)] == ["u4"]
    assert [u.id for u in cover(utterances[:4], 2)] == ["u0", "u3"]
    assert cover(utterances, 9) == utterances
