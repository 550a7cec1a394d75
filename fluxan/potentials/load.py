"""`load_model`: makes a potential from a file, the name of a shipped potential, or an object in memory."""

from __future__ import annotations

import difflib
import inspect
import tomllib
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from fluxan.errors import FileError, ModelError
from fluxan.potentials.parameters import check_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxan.potentials.base import Potential

DATA = Path(__file__).parent / "data"

#: Module and class of each ``kind`` of analytic potential.
KINDS = {
    "lennard-jones": ("lennard_jones", "LennardJones"),
    "stillinger-weber": ("stillinger_weber", "StillingerWeber"),
    "vashishta": ("vashishta", "Vashishta"),
}
#: Suffixes of pickled files, which are not opened without an adapter.
PICKLES = (".pt", ".pth", ".model", ".pkl", ".ckpt")
#: Adapter of models and ASE calculators, by the package that defines their class.
PACKAGES = {
    "mace": "mace",
    "nequip": "nequip",
    "allegro": "nequip",
    "sevenn": "sevennet",
    "metatomic": "metatomic",
    "metatomic_ase": "metatomic",
}
#: Adapter of TorchScript models, by the name of the scripted class.
SCRIPTS = {"MACE": "mace", "ScaleShiftMACE": "mace", "AtomisticModel": "metatomic"}

#: Name and options of models that were loaded through adapters.
_ORIGINS: WeakKeyDictionary[Any, tuple[str, dict[str, object]]] = WeakKeyDictionary()


def load_model(model: object, **options: object) -> Potential:
    """Make a potential from a file, a name or an object.

    Parameters
    ----------
    model : str, Path, Potential, torch.nn.Module or ASE calculator
        The path of a ``.toml`` file (analytic potentials) or a ``.safetensors`` file (models trained by fluxan);
        ``"adapter:path"`` for a file of another program, e.g. ``"mace:medium.model"``; the name of a shipped potential
        (`shipped_models`), ``"shipped:ar"``, or ``"ar"`` where no such file exists; a model or calculator of a program
        that has an adapter; or a `Potential` or ``torch.nn.Module`` with ``cutoff`` and ``n_hops``, returned as it is.
    **options : object
        Options of the adapter; no other kind of model takes any.

    Raises
    ------
    FileError
        The file is missing or cannot be read.
    ModelError
        Its content is not usable (the message names file and key), or `model` is none of the above.
    """
    if not isinstance(model, str | Path):
        _refuse_options(options)
        return _checked_module(model)
    prefix, colon, rest = str(model).partition(":")
    # A single letter before the colon is a Windows drive.
    if colon and len(prefix) > 1 and not Path(model).exists():
        if prefix != "shipped":
            return _load_adapter(prefix, rest, options)
        _refuse_options(options)
        return _load_toml(_shipped_file(rest))
    _refuse_options(options)
    return _load_file(Path(model))


def shipped_models() -> tuple[str, ...]:
    """Names of the potentials that come with fluxan."""
    return tuple(sorted(path.stem for path in DATA.glob("*.toml")))


def parse_model(text: str, *, source: str) -> Potential:
    """Build an analytic potential from TOML text, e.g. that of `Potential.describe`.

    Parameters
    ----------
    text : str
        The text.
    source : str
        Name of its source, for messages.

    Raises
    ------
    ModelError
        The text is not TOML (the message names the line), or one of its keys is not usable.
    """
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"{source} is not TOML: {error}") from None
    try:
        return _build(settings)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
    except OverflowError:
        raise ModelError(f"{source}: a number is too large to compute with") from None


def _load_file(path: Path) -> Potential:
    if path.suffix == ".toml":
        return _load_toml(path)
    if path.suffix == ".safetensors":
        _require_file(path)
        return import_module("fluxan.potentials.model_file").load_trained(path)
    if path.suffix in PICKLES:
        raise ModelError(
            f"{path} looks like a pickled checkpoint, which is not opened without an adapter: "
            f"give ADAPTER:{path} with one of {', '.join(_adapters()) or 'no adapters installed'}"
        )
    if not path.exists() and str(path) in shipped_models():
        return _load_toml(_shipped_file(str(path)))
    if not path.exists():
        raise FileError(f"no model file {path}, and no shipped potential of that name ({', '.join(shipped_models())})")
    raise ModelError(f"{path} is no model file; expected .toml, .safetensors, or ADAPTER:path")


def _load_toml(path: Path) -> Potential:
    _require_file(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not TOML: byte {error.start} is not UTF-8 text") from None
    except OSError as error:
        raise FileError(f"cannot read model file {path}: {error.strerror}") from None
    return parse_model(text, source=str(path))


def _build(settings: Mapping[str, object]) -> Potential:
    """Build a potential from the keys of its file, which are the keyword arguments of its class."""
    kind = settings.get("kind")
    if kind is None:
        raise ModelError(f"kind is missing; expected one of {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(KINDS)}"
        raise ModelError(f"kind is {kind!r}, which is unknown; {hint}")
    module, name = KINDS[kind]
    potential = getattr(import_module(f"fluxan.potentials.{module}"), name)
    keywords = inspect.signature(potential).parameters
    arguments = {key: value for key, value in settings.items() if key != "kind"}
    check_keys(arguments, keywords, "")
    for key, keyword in keywords.items():
        if keyword.default is keyword.empty and key not in arguments:
            raise ModelError(f"{key} is missing")
    return potential(**arguments)


def _load_adapter(name: str, path: str, options: Mapping[str, object]) -> Potential:
    taken = _options_of(name, path)
    if not path:
        raise ModelError(f"{name}: names no file; give {name}:FILE")
    load = import_module(f"fluxan.potentials.adapters.{name}").load
    unknown = [option for option in options if option not in taken]
    if unknown:
        raise ModelError(f"the adapter {name} takes no option {', '.join(unknown)}; it takes {', '.join(taken)}")
    potential = load(path, **options)
    _ORIGINS[potential] = f"{name}:{path}", dict(options)
    return potential


def origin(model: object) -> tuple[str, dict[str, object]] | None:
    """Name and options with which `load_model` read a model through an adapter; None for any other model."""
    try:
        return _ORIGINS.get(model)
    except TypeError:  # no weak reference, no hash
        return None


def adapter_options(model: str) -> tuple[str, ...]:
    """Names of the options that `load_model` takes with a model of this name; none where no adapter reads it.

    Raises
    ------
    ModelError
        The name begins with an adapter that does not exist.
    """
    prefix, colon, path = model.partition(":")
    if not colon or len(prefix) < 2 or prefix == "shipped" or Path(model).exists():
        return ()
    return _options_of(prefix, path)


def _options_of(name: str, path: str) -> tuple[str, ...]:
    known = _adapters()
    if name not in known:
        raise ModelError(f"no adapter {name!r} for {path}; known adapters: {', '.join(known) or 'none installed'}")
    return tuple(inspect.signature(import_module(f"fluxan.potentials.adapters.{name}").load).parameters)[1:]


def _adapters() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in iter_modules([str(DATA.parent / "adapters")]) if not m.name.startswith("_")))


def _shipped_file(name: str) -> Path:
    path = DATA / f"{name}.toml"
    if name not in shipped_models():
        raise ModelError(f"no shipped potential {name!r}; there are {', '.join(shipped_models())}")
    return path


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise FileError(f"no model file {path}" if not path.exists() else f"{path} is not a file")


def _checked_module(model: object) -> Potential:
    import torch

    from fluxan.potentials.base import Potential

    if isinstance(model, Potential):
        return model
    adapter = _adapter_of(model)
    if adapter is not None:
        return import_module(f"fluxan.potentials.adapters.{adapter}").wrap(model)
    calculators = getattr(getattr(model, "mixer", None), "calcs", None)
    if calculators is not None:
        return _sum(type(model).__name__, calculators, model.mixer.weights)  # type: ignore[attr-defined]
    if not isinstance(model, torch.nn.Module):
        held = getattr(model, "model", None)
        if isinstance(held, torch.nn.Module):  # a calculator
            return _checked_module(held)
        raise ModelError(
            f"{type(model).__name__} is no model; expected a path to .toml or .safetensors, 'adapter:path', "
            "a shipped name, or a fluxan.potentials.Potential"
        )
    for name, meaning in (("cutoff", "Å"), ("n_hops", "edges that an atomic energy reaches, 1 for a local model")):
        if not hasattr(model, name):
            raise ModelError(
                f"{type(model).__name__} has no attribute {name} ({meaning}); set it, or subclass Potential"
            )
    return cast("Potential", model)


def _sum(name: str, calculators: Sequence[object], weights: Sequence[float]) -> Potential:
    """Potential of an ASE calculator that is a sum or mixture of others."""
    from fluxan.potentials.weighted_sum import WeightedSum

    members = []
    for k, calculator in enumerate(calculators, 1):
        try:
            members.append(_checked_module(calculator))
        except ModelError:
            if type(calculator).__module__.startswith("ase.calculators.mixing"):
                raise
            raise ModelError(
                f"{type(calculator).__name__}, calculator {k} of {len(calculators)} in a {name}, gives no atomic "
                "energies that fluxan could use; give model= one of the others, whose flux lacks its part, "
                "or write it as a fluxan.potentials.Potential"
            ) from None
    return WeightedSum(members, weights)


def _adapter_of(model: object) -> str | None:
    """Name of the adapter for an object of another program, by its class; None where there is none."""
    script = SCRIPTS.get(getattr(model, "original_name", ""))
    if script:
        return script
    for kind in type(model).__mro__:
        # Modules that were loaded from a torch package have a prefix: <torch_package_0>.nequip.nn
        module = kind.__module__.split(">.")[-1]
        adapter = PACKAGES.get(module.partition(".")[0])
        if adapter:
            return adapter
    return None


def _refuse_options(options: Mapping[str, object]) -> None:
    if options:
        raise ModelError(f"options {', '.join(options)} are for models loaded through an adapter only")
