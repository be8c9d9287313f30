"""What a soft prompt learnt: its vectors among audio and text embeddings (stage 7).

    python -m spft.bin.prompt_map --model exp/music/soft_prompt --data data/music_dev \
        --text data/music_text/train/text --out exp/music/prompt_map.json

Principal components of all three in two dimensions, for the report page; the nearest
tokens and audio embeddings of each vector by cosine (near in this space does not say
that the decoder reads the vector as that word); and how much attention the decoder
pays, while it writes a sentence, to the prompt and to audio in its place.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from spft.errors import UserError, run
from spft.files import atomic_write, sha256

UTTERANCES = 30  # whose audio embeddings are looked at
TOKENS = 300  # of the text, the most frequent
NEAREST = 3


def get_parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, type=Path, help="folder of a soft prompt's stage")
    add("--data", required=True, type=Path, help="speech of the domain, not test")
    add("--text", required=True, type=Path, help="Kaldi text of the domain")
    add("--dump", type=Path, default=Path("dump"), help="features of stage 2")
    add("--out", required=True, type=Path, help="JSON to write")
    return parser


def main() -> None:
    """Run the command."""
    args = get_parser().parse_args()
    import torch

    from spft.adapt.soft_prompt import SoftPrompt
    from spft.data.speech import find_speech
    from spft.data.table import read_table
    from spft.recognizer import Recognizer
    from spft.search.config import DecodeConfig

    recognizer = Recognizer(args.model, DecodeConfig(), {})
    model, llm = recognizer.model, recognizer.llm
    if not isinstance(model.adapt, SoftPrompt):
        raise UserError(f"{args.model}: has no soft prompt")
    speech = find_speech(args.data, args.dump)
    if speech is None:
        raise UserError(f"{args.data}/wav.scp: not found; run stage 1 first")
    names = sorted(speech.lengths)[:UTTERANCES]
    spoken = args.data / "text"
    texts = read_table(spoken) if spoken.exists() else None
    texts = [texts[u] for u in names] if texts else speech.transcripts(names)
    counts = Counter(
        token for text in read_table(args.text).values() for token in llm.encode(text)
    )
    tokens = [token for token, _ in counts.most_common(TOKENS)]
    with torch.inference_mode():
        prefixes = recognizer.prefixes(speech, names)
        groups = {
            "prompt": model.adapt.prefix().embeds[0].float(),
            "audio": torch.cat([p.embeds[0] for p in prefixes]).float(),
            "text": llm.embed(torch.tensor(tokens, device=llm.device)).float(),
        }
        written = [llm.decode([token]) for token in tokens]
        weights = args.model / "model.safetensors"
        report = {
            "sha256": {str(weights): sha256(weights)},
            "points": project(groups),
            "prompt": nearest(groups, written),
            "norms": {
                name: round(float(vectors.norm(dim=1).mean()), 3)
                for name, vectors in groups.items()
            },
        }
        if texts:  # else neither a transcript nor a first pass to write
            prompts = [model.adapt.prefix()] * len(names)
            report["attention"] = {
                "prompt": attention(llm, prompts, texts),
                "audio": attention(llm, prefixes, texts),
            }
    with atomic_write(args.out) as stream:
        json.dump(report, stream, ensure_ascii=False)
    print(f"{args.out}: {len(report['prompt'])} vectors")


def project(groups: dict) -> dict[str, list]:
    """Each group's vectors in the first two principal components of all of them."""
    import torch

    everything = torch.cat(list(groups.values()))
    mean = everything.mean(0)
    torch.manual_seed(0)  # of the randomised decomposition
    _, _, directions = torch.pca_lowrank(everything, q=2)
    return {
        name: [
            [round(float(x), 4) for x in row] for row in (vectors - mean) @ directions
        ]
        for name, vectors in groups.items()
    }


def attention(llm, prefixes: list, texts: list[str]) -> list[float]:
    """Share of attention that goes to the prefix, by layer.

    A mean over the positions that the texts' tokens are told from, and over heads. The
    first position is not counted: whatever it holds, it draws attention that no other
    position needs (arXiv 2309.17453).

    Args:
        llm: the decoder, a :class:`spft.llm.LLM`.
        prefixes: one of one row for each text.
        texts: what the decoder writes.
    """
    import torch

    from spft.attention import NAME

    shares = []
    llm.model.set_attn_implementation("eager")  # the kernel that keeps the weights
    try:
        for prefix, text in zip(prefixes, texts, strict=True):
            tokens = torch.tensor([[llm.bos, *llm.encode(text)]], device=llm.device)
            embeds = llm.embed(tokens)
            before = prefix.embeds.shape[1]
            weights = llm.model.base_model(
                inputs_embeds=torch.cat([prefix.embeds.to(embeds), embeds], 1),
                output_attentions=True,
                use_cache=False,
            ).attentions
            paid = torch.stack(weights)[:, 0, :, before:, 1:before]
            shares.append(paid.sum(-1).float().mean((1, 2)))
    finally:
        llm.model.set_attn_implementation(NAME)
    return [round(float(share), 4) for share in torch.stack(shares).mean(0)]


def nearest(groups: dict, written: list[str]) -> list[dict]:
    """For each prompt vector: its nearest tokens, and how near audio comes."""
    from torch.nn.functional import normalize

    prompt, audio, text = (
        normalize(groups[name], dim=1) for name in ("prompt", "audio", "text")
    )
    found = []
    for vector in prompt:
        closeness = text @ vector
        best = closeness.argsort(descending=True).tolist()[:NEAREST]
        tokens = [[written[i].strip(), round(float(closeness[i]), 3)] for i in best]
        found.append(
            {"tokens": tokens, "audio": round(float((audio @ vector).max()), 3)}
        )
    return found


if __name__ == "__main__":
    run(main)
