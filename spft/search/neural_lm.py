"""Fusion of a language model trained by ESPnet's LM task, over the LLM's tokens.

Its token list (see ``spft.bin.prepare_lm``) holds ids of LLM tokens as words.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spft.errors import UserError
from spft.files import read_yaml
from spft.search.scorers import VocabularyMap

# ESPnet's names for the best checkpoint, averaged where several are kept.
CHECKPOINTS = ("valid.loss.ave.pth", "valid.loss.best.pth")


class NeuralLM:
    """A :class:`~spft.search.scorers.Scorer` around an ESPnet LSTM, GRU or Transformer.

    Args:
        directory: experiment directory with ``config.yaml`` and a checkpoint.
        vocab_size: V, the width of the LLM's output.
        bos_id: of the LLM; the LM starts its sentence with it.
        eos_id: of the LLM.
        device: where to run.

    Raises:
        UserError: the directory holds no LM, or one over other tokens.
    """

    def __init__(
        self,
        directory: str | Path,
        vocab_size: int,
        bos_id: int,
        eos_id: int,
        device: str | torch.device = "cpu",
    ):
        self.lm, token_list = load_espnet_lm(directory)
        self.lm.to(device)
        config = Path(directory) / "config.yaml"
        try:
            # The last token is <sos/eos>, as ESPnet's LM assumes too.
            known = {
                int(token): index
                for index, token in enumerate(token_list[:-1])
                if token not in ("<blank>", "<unk>")
            }
            self.map = VocabularyMap(
                known,
                unk=token_list.index("<unk>"),
                boundary=len(token_list) - 1,
                vocab_size=vocab_size,
                bos_id=bos_id,
                eos_id=eos_id,
            ).to(device)
        except ValueError as error:
            raise UserError(
                f"{config}: token_list is not one of this LLM's token ids ({error}); "
                "train the LM on data from spft.bin.prepare_lm"
            ) from error
        # A recurrent LM's state holds one row per hypothesis in dimension 1.
        self.recurrent = hasattr(self.lm, "rnn")

    def initial(self, n: int) -> Any:
        return None

    @torch.inference_mode()
    def score(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        inputs, lm = self.map.encode(tokens)[:, None], self.lm
        if self.recurrent:
            logits, state = lm(inputs, state)
        else:
            history, cache = (inputs, None) if state is None else state
            if state is not None:
                history = torch.cat([history, inputs], 1)
            # ESPnet's `batch_score` is this with one list of tensors per hypothesis.
            hidden, _, cache = lm.encoder.forward_one_step(
                lm.embed(history), lm._target_mask(history), cache=cache
            )
            logits, state = lm.decoder(hidden), (history, cache)
        return self.map.spread(logits[:, -1].float().log_softmax(-1)), state

    def select(self, state: Any, index: Tensor) -> Any:
        if self.recurrent:
            if isinstance(state, tuple):  # LSTM: hidden and cell
                return tuple(part.index_select(1, index) for part in state)
            return state.index_select(1, index)
        history, cache = state
        return history[index], [layer[index] for layer in cache]


def load_espnet_lm(directory: str | Path) -> tuple[torch.nn.Module, list[str]]:
    """Load a language model of ESPnet's LM task, ready to predict, and its token list.

    Not through that task, whose import would take longer than all of it.

    Raises:
        UserError: no such model, a checkpoint that does not fit it, an LM type that
            keeps no state.
    """
    from espnet2.lm.seq_rnn_lm import SequentialRNNLM
    from espnet2.lm.transformer_lm import TransformerLM

    directory = Path(directory)
    config = directory / "config.yaml"
    paths = [path for name in CHECKPOINTS if (path := directory / name).exists()]
    if not config.exists() or not paths:
        raise UserError(
            f"{directory}: no language model here (config.yaml and "
            f"{' or '.join(CHECKPOINTS)}); train one with spft.bin.train_lm"
        )
    conf = read_yaml(config)
    kind = {"seq_rnn": SequentialRNNLM, "transformer": TransformerLM}.get(conf["lm"])
    if kind is None:
        raise UserError(
            f"{config}: lm: {conf['lm']} cannot be fused; seq_rnn or transformer can"
        )
    tokens = conf["token_list"]
    lm = kind(vocab_size=len(tokens), **conf["lm_conf"])
    stored = torch.load(paths[0], map_location="cpu", weights_only=True)
    # ESPnet's model around it has nothing else to learn.
    stored = {name.removeprefix("lm."): tensor for name, tensor in stored.items()}
    if missing := lm.state_dict().keys() - stored.keys():
        raise UserError(
            f"{paths[0]}: lacks {sorted(missing)[0]} and {len(missing) - 1} more; "
            "it does not belong to this config.yaml"
        )
    lm.load_state_dict(stored)
    return lm.eval(), tokens
