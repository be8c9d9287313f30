"""The decoder-only LLM: a transformers model, tuned whole or through LoRA (peft)."""

import contextlib
import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from spft import attention
from spft.attention import SharedPrefix
from spft.cuda_graphs import GraphedLayers
from spft.errors import UserError
from spft.label_loss import label_loss
from spft.prefix import Prefix
from spft.pretrained import loading, resolve
from spft.rows import into_rows

IGNORED = -1  # padding of token ids in ESPnet's batches
DTYPES = ("auto", "float32", "bfloat16", "float16")
# Keys of LLMs' configurations that change logits behind the output layer, or scores in
# the attention.
SCALED_LOGITS = (
    "final_logit_softcapping",
    "attn_logit_softcapping",
    "logits_scaling",
    "logit_scale",
)


def fast_dtype() -> torch.dtype:
    """bfloat16, or float32 where the former would be emulated, at a tenth of its speed.

    GPUs compute in it since Ampere (2020). x86 processors have instructions for it
    since then (AVX-512 or AMX), and many that are sold without AVX-512 still lack them.
    """
    if torch.cuda.is_available():
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities().items()
        has = any(present and "bf16" in name for name, present in capabilities)
    return torch.bfloat16 if has else torch.float32


def lora_config(keys: dict):
    """The ``peft.LoraConfig`` of ``llm_conf: lora``.

    Raises:
        UserError: peft does not take the keys.
    """
    from peft import LoraConfig

    try:
        return LoraConfig(**keys)
    except (TypeError, ValueError) as error:
        raise UserError(f"llm_conf: lora: {error}") from error


def refuse_scaled_logits(config, name: str) -> None:
    """Refuse an LLM whose logits are not those of its output layer alone.

    Losses here are; what stands behind it would make training and search differ.

    Args:
        config: transformers', of the LLM.
        name: of the LLM.

    Raises:
        UserError: it scales or caps them.
    """
    config = config.get_text_config()
    for key in SCALED_LOGITS:
        if getattr(config, key, None) not in (None, 1):
            raise UserError(
                f"LLM {name!r} scales its logits ({key}: {getattr(config, key)}), "
                "which this project cannot do; choose another LLM"
            )


class LLM(nn.Module):
    """Decode text after a :class:`Prefix`.

    The sequence is ``prefix <bos> y1 … yn <eos>``; the loss is on ``y1 … yn <eos>``.

    Args:
        name: a short name of :mod:`spft.pretrained`, a folder, or a hub name.
        dtype: of the pretrained weights, and what is computed in; ``auto`` is
            ``bfloat16`` where the machine has instructions for it, else ``float32``.
            LoRA's weights are always float32, and so is all of it where the pretrained
            weights themselves are trained.
        lora: keyword arguments of ``peft.LoraConfig`` (``r``, ``lora_alpha``, …), or
            None for no LoRA.
        dropout: dropout while the LLM is trained, wherever it has any: most have it
            in the attention alone.
        cuda_graphs: in training on a GPU, launch all kernels of the layers at once, as
            recorded from the first batch of a size (:mod:`spft.cuda_graphs`). Not of
            LLMs with an attention window, and not where several GPUs share a batch.
        compile: in training on a GPU, let torch.compile fuse the kernels of a layer, in
            place of ``cuda_graphs``. Not of LLMs with an attention window. The first
            steps take minutes.
    """

    def __init__(
        self,
        name: str,
        dtype: str = "auto",
        lora: dict | None = None,
        dropout: float = 0.0,
        cuda_graphs: bool = True,
        compile: bool = False,
    ):
        super().__init__()
        path = resolve(name)
        if dtype not in DTYPES:
            raise UserError(
                f"llm_conf: dtype: {dtype!r} is none of {', '.join(DTYPES)}"
            )
        weights = fast_dtype() if dtype == "auto" else getattr(torch, dtype)
        with loading(f"LLM {name!r}", "llm_conf"):
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            config = AutoConfig.from_pretrained(path)
            options = {
                key: dropout
                for key, value in config.to_dict().items()
                if key.endswith(("dropout", "_pdrop"))
                and isinstance(value, int | float)
            }
            if dropout and not options:
                raise UserError(f"llm_conf: LLM {name!r} has no dropout to be set")
            self.model = AutoModelForCausalLM.from_pretrained(
                path, dtype=weights, **options
            )
        refuse_scaled_logits(self.model.config, name)
        attention.enable(self.model)
        self.model.requires_grad_(False)
        if lora is not None:
            from peft import inject_adapter_in_model

            inject_adapter_in_model(lora_config(lora), self.model)
            for name, parameter in self.model.named_parameters():
                if "lora_" in name:  # small steps would be lost in bfloat16
                    parameter.data = parameter.data.float()
            for module in self._adapted():
                # Autocast casts the weights; peft would cast the inputs there and back.
                module.cast_input_dtype_enabled = False
        self.cuda_graphs, self.compile_layers = cuda_graphs and not compile, compile
        self._layers: GraphedLayers | None = None
        self._plain: list[Tensor] = []  # of merged layers, if they are to be unmerged
        self.eos = self.tokenizer.eos_token_id
        bos = self.tokenizer.bos_token_id
        self.bos = self.eos if bos is None else bos

    @torch.no_grad()
    def embedding_table(self) -> Tensor:
        """Embeddings ``[V, D]`` of all tokens, in float32, scaled as the LLM does."""
        size = self.model.get_input_embeddings().weight.shape[0]
        return self.embed(torch.arange(size, device=self.device)).float()

    def mean_embedding(self) -> Tensor:
        """What stands for nothing, ``[D]``: the mean of all embeddings.

        Not zeros: in LLMs without biases these stay zeros through all layers, and what
        normalises them multiplies the gradient in each, until it is infinite.
        """
        return self.embedding_table().mean(0)

    def empty_prefix(self) -> Prefix:
        """A prefix of no positions, for all sentences."""
        none = torch.zeros(1, 0, dtype=torch.long, device=self.device)
        return Prefix(self.embed(none), none.new_zeros(1))

    def merge(self, keep: bool = False) -> None:
        """Add LoRA's product to the weights it adapts: faster, but not to be trained.

        The sum is rounded to ``dtype``. In bfloat16 the error is a tenth of the
        product's own size, though what comes out is as near to float32 as unmerged.

        Args:
            keep: keep a copy of the weights as they were, for :meth:`unmerge`.
        """
        for module in self._adapted():
            if keep:
                self._plain.append(module.get_base_layer().weight.detach().clone())
            module.merge()

    def unmerge(self) -> None:
        """Undo ``merge(keep=True)`` exactly, so that another LoRA can be loaded."""
        for module, weight in zip(self._adapted(), self._plain, strict=True):
            module.unmerge()
            module.get_base_layer().weight.data.copy_(weight)
        self._plain.clear()

    def _adapted(self) -> list:
        from peft.tuners.tuners_utils import BaseTunerLayer

        return [m for m in self.model.modules() if isinstance(m, BaseTunerLayer)]

    @property
    def window(self) -> int | None:
        """To how many positions some layers attend at most; None: to all."""
        config = self.model.config.get_text_config()
        return getattr(config, "sliding_window", None)

    @property
    def width(self) -> int:
        """Width D of the embeddings."""
        return self.model.get_input_embeddings().embedding_dim

    @property
    def dtype(self) -> torch.dtype:
        """What the pretrained weights are kept in."""
        return self.model.get_input_embeddings().weight.dtype

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context that forward passes run in, of this model's parts too."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed token ids: ``[...]`` → ``[..., D]``."""
        return self.model.get_input_embeddings()(tokens)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without bos and eos."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, tokens: list[int]) -> str:
        """Text of token ids."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True)

    @functools.cached_property
    def pieces(self) -> list[str]:
        """What each token of the vocabulary adds to a text, word marks as spaces."""
        # Some tokenizers drop the first token's word mark: so none stands first.
        first, size = self.encode("a"), len(self.tokenizer)
        texts = self.tokenizer.batch_decode(
            [[*first, token] for token in range(size)],
            clean_up_tokenization_spaces=False,
        )
        width = self.model.get_output_embeddings().weight.shape[0]
        return [text.removeprefix("a") for text in texts] + [""] * (width - size)

    def decode_batch(self, tokens: Tensor, lengths: Tensor) -> list[str]:
        """Texts of a padded batch ``[B, L]``."""
        rows = zip(tokens.tolist(), lengths.tolist(), strict=True)
        return [self.decode(row[:n]) for row, n in rows]

    def forward(
        self,
        prefix: Prefix,
        text: Tensor,
        lengths: Tensor,
        owners: Tensor | None = None,
    ) -> Tensor:
        """Return the negative log-likelihood of every label, in nats.

        With LoRA that is not merged, only under :meth:`autocast`.

        Args:
            prefix: what stands before the text, one row for all sentences or one each,
                or as ``owners`` says.
            text: ``[B, L]`` token ids, padded with :data:`IGNORED`.
            lengths: ``[B]`` valid tokens of each sentence.
            owners: ``[B]``, for each sentence the row of its prefix.

        Returns:
            ``[sum(lengths) + B]``: the sentences' labels in order, each with its eos.
        """
        text = text[:, : int(lengths.max())]
        positions = torch.arange(text.shape[1] + 1, device=text.device)
        valid = positions[None, :] <= lengths[:, None]
        inputs = F.pad(text, (1, 0), value=self.bos).clamp(min=0)
        labels = F.pad(text, (0, 1), value=IGNORED)
        labels = labels.masked_fill(positions[None, :] == lengths[:, None], self.eos)
        if self.compile_layers and self.training and self._may_pack():
            self._compile()
        embeds = self.embed(inputs)
        with self._attention():
            each = owners is None and prefix.batch_size == len(text)
            # Own prefixes are packed for CUDA graphs alone, which want few shapes.
            packs = self.cuda_graphs if each else prefix.batch_size == 1
            if owners is None and packs and self._may_pack():
                hidden = self._packed(prefix, embeds, valid)
            elif each:
                hidden = self._after_own(prefix, embeds, valid)
            else:
                hidden = self._after_shared_prefix(prefix, embeds, valid, owners)
        # The output layer dominates the cost, so it sees labels only.
        return label_loss(hidden, self.model.get_output_embeddings(), labels[valid])

    def _attention(self) -> contextlib.AbstractContextManager:
        """Which attention kernel to use.

        On a CPU the backward pass of torch's fused kernel costs as much as all matrix
        products of a step where rows are short, as sentences are.
        """
        if self.device.type == "cpu" and torch.is_grad_enabled():
            return sdpa_kernel(SDPBackend.MATH)
        return contextlib.nullcontext()

    def _after_own(self, prefix: Prefix, embeds: Tensor, valid: Tensor):
        before, before_mask = prefix.left_padded()
        mask = torch.cat([before_mask, valid], dim=1)
        hidden = self.model.base_model(
            inputs_embeds=torch.cat([before.to(embeds.dtype), embeds], dim=1),
            attention_mask=mask.long(),
            position_ids=(mask.long().cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        return hidden[:, before.shape[1] :][valid]

    def _may_pack(self) -> bool:
        # A window counts positions in the row, not those of the sentence.
        return self.device.type != "cpu" and not self.window

    def _compile(self) -> None:
        self.compile_layers = False  # once
        modules = self.model.modules()
        # transformers' class of what a model repeats, whatever its name there.
        layers = [m for m in modules if isinstance(m, GradientCheckpointingLayer)]
        for layer in layers or [self.model.base_model]:
            layer.compile(dynamic=True)

    def _packed(self, prefix: Prefix, embeds: Tensor, valid: Tensor) -> Tensor:
        rows = into_rows(prefix, embeds, valid)
        if self._layers is None:
            self._layers = GraphedLayers(self.model, self.cuda_graphs)
        hidden = self._layers(rows.embeds, rows.mask, rows.positions)
        return hidden[rows.row, rows.column]

    def _after_shared_prefix(
        self, prefix: Prefix, embeds: Tensor, valid: Tensor, owners: Tensor | None
    ):
        # Autograd sums the sentences' gradients into the one prefix's keys and values,
        # so that the result is exact for the prompt and for the decoder.
        shared, starts = None, prefix.lengths
        if prefix.embeds.shape[1]:
            before, mask = prefix.left_padded()
            cache = DynamicCache()
            self.model.base_model(
                inputs_embeds=before.to(embeds.dtype),
                attention_mask=mask.long(),
                position_ids=(mask.long().cumsum(1) - 1).clamp(min=0),
                past_key_values=cache,
                use_cache=True,
            )
            shared = SharedPrefix(cache, None if mask.all() else mask)
        if owners is not None:
            starts, shared = starts[owners], shared and shared.select(owners)
        positions = torch.arange(embeds.shape[1], device=embeds.device)
        return self.model.base_model(
            inputs_embeds=embeds,
            # What is padding comes last, where nothing valid sees it.
            attention_mask=None,
            position_ids=starts[:, None].to(positions.device) + positions,
            use_cache=False,
            shared_prefix=shared,
        ).last_hidden_state[valid]
