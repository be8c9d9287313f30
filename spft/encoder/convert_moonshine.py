"""Moonshine's ONNX Runtime files made into a transformers model.

The files hold 8-bit weights that their graph widens again at each step, for one
utterance at a time. In transformers the same weights are widened once, decode in
batches, run on GPUs and can be tuned.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# TensorProto's numbers of the types of parameters in these files.
TYPES = {1: np.float32, 3: np.int8}
RENAMED = {"dense": "o_proj", "up_proj": "fc1", "down_proj": "fc2"}
BASE = {
    "hidden_size": 416,
    "intermediate_size": 1664,
    "encoder_num_hidden_layers": 8,
    "decoder_num_hidden_layers": 8,
    "partial_rotary_factor": 0.62,
}


def convert_moonshine(folder: Path) -> None:
    """Replace the ``.ort`` files and ``tokenizer.bin`` of Moonshine base."""
    import torch
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration

    model = MoonshineForConditionalGeneration(MoonshineConfig(**BASE))
    sources = ["encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"]
    found = {f"model.encoder.{k}": v for k, v in read_ort(folder / sources[0])}
    found |= read_ort(folder / sources[1])
    found["proj_out.weight"] = found["model.decoder.embed_tokens.weight"]
    state = {
        name: torch.from_numpy(found[name]).reshape(tensor.shape)
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)
    model.save_pretrained(folder)
    read_tokenizer(folder / sources[2]).save_pretrained(folder)
    for name in sources:
        (folder / name).unlink()


def read_ort(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Parameters in an ONNX Runtime file, as float32 and by transformers' names."""
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import (
        InferenceSession,
    )

    session = InferenceSession.InferenceSession
    main = session.GetRootAs(bytearray(path.read_bytes()), 0).Model().Graph()
    graphs = list(_graphs(main))
    stored = {}
    for graph in graphs:
        for i in range(graph.InitializersLength()):
            tensor = graph.Initializers(i)
            dtype, data = TYPES.get(tensor.DataType()), tensor.RawDataAsNumpy()
            if dtype and isinstance(data, np.ndarray):
                shape = [tensor.Dims(k) for k in range(tensor.DimsLength())]
                stored[tensor.Name().decode()] = data.view(dtype).reshape(shape)
    # Widened: scale * integer + zero point, as the graph does it.
    wide = {name: data for name, data in stored.items() if data.dtype == np.float32}
    for name in stored:
        stem = name.removesuffix("_quantized")
        if stem != name:
            scale, zero = stored[f"{stem}_scale"], stored[f"{stem}_zero_point"]
            wide[f"{stem}_add_tensor"] = stored[name] * scale + zero

    for name, data in wide.items():
        name = re.sub(r"(_merged_\d+)?(_add_tensor)?$", "", name)
        if re.fullmatch(r"[\w.]+\.(weight|bias)", name):
            yield _renamed(name), data
    # Matrices of linear layers lost their names; the nodes that use them kept theirs.
    for graph in graphs:
        for i in range(graph.NodesLength()):
            node = graph.Nodes(i)
            name = node.Name().decode().strip("/").replace("/", ".")
            if node.InputsLength() < 2:
                continue
            data = wide.get(node.Inputs(1).decode())
            if data is None:
                continue
            if name.endswith(
                ("_proj.MatMul", "dense.MatMul", "fc1.MatMul", "fc2.MatMul")
            ):
                yield _renamed(name.replace("MatMul", "weight")), data.T
            elif name in ("groupnorm.Mul", "groupnorm.Add"):
                yield f"groupnorm.{'weight' if 'Mul' in name else 'bias'}", data


def read_tokenizer(path: Path):
    """The tokenizer of the pieces in Moonshine's ``tokenizer.bin``.

    Each piece comes after its length; a length of 128 or more takes two bytes. They are
    those of a SentencePiece BPE, in the order in which they were merged.
    """
    from tokenizers import Tokenizer, decoders, normalizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    data, pieces, i = path.read_bytes(), [], 0
    while i < len(data):
        size, i = data[i], i + 1
        if size >= 128:
            size, i = size - 128 + 128 * data[i], i + 1
        pieces.append(data[i : i + size])
        i += size
    names = [piece.decode("utf-8", "replace") for piece in pieces]
    names[3:259] = [f"<0x{byte:02X}>" for byte in range(256)]
    names += [f"<<ST_{i}>>" for i in range(len(names), 32768)]
    ids = {name: i for i, name in enumerate(names)}
    merges = [
        (name[:k], name[k:])
        for name in names[259:32000]
        for k in range(1, len(name))
        if name[:k] in ids and name[k:] in ids
    ]
    tokenizer = Tokenizer(BPE(ids, merges, byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
    )


def _graphs(graph) -> Iterator:
    """``graph`` and those inside its nodes (branches of an If)."""
    yield graph
    for i in range(graph.NodesLength()):
        node = graph.Nodes(i)
        for k in range(node.AttributesLength()):
            if (branch := node.Attributes(k).G()) is not None:
                yield from _graphs(branch)


def _renamed(name: str) -> str:
    return ".".join(RENAMED.get(part, part) for part in name.split("."))
