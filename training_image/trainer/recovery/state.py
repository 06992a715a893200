"""All that a model has learnt, as named parts of plain bytes: tensors as safetensors, the rest as JSON.

Taken and put back at the start of a segment only (see `segments`), so neither random number generators nor
environments are in it. Nothing here is pickled, so reading a part cannot run code.
"""

import json
from typing import Any

import torch
from safetensors.torch import load, save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

PARAMETERS = "parameters.safetensors"
NORMALISER = "normaliser.safetensors"
COUNTERS = "counters.json"

Parts = dict[str, bytes]


def capture(model: BaseAlgorithm) -> Parts:
    """What the model has learnt and counted so far."""
    parts = {
        PARAMETERS: save(_flatten(model.get_parameters()) | _variables(model)),
        COUNTERS: json.dumps(_counters(model), default=float).encode(),
    }
    if normaliser := model.get_vec_normalize_env():
        parts[NORMALISER] = capture_normaliser(normaliser)
    return parts


def restore(model: BaseAlgorithm, parts: Parts) -> None:
    """Put back what `capture` took, into a model built from the same plan."""
    tensors = load(parts[PARAMETERS])
    for path in [path for path in tensors if path.startswith(_VARIABLES)]:
        getattr(model, path.removeprefix(_VARIABLES)).data.copy_(tensors.pop(path))
    parameters: Any = _unflatten(tensors, model.get_parameters())
    model.set_parameters(parameters, device=model.device)
    counters = json.loads(parts[COUNTERS])
    for name in _COUNTERS:
        if name in counters:
            setattr(model, name, counters[name])
    for name in _WINDOWS:
        window = getattr(model, name)
        window.clear()
        window.extend(counters[name])
    if normaliser := model.get_vec_normalize_env():
        tensors = load(parts[NORMALISER])
        for key in _observed(normaliser):
            _put(normaliser, key, _running(tensors, statistics_name(key)))
        normaliser.ret_rms = _running(tensors, "return")


def capture_normaliser(normaliser: VecNormalize) -> bytes:
    """The running statistics of observations and returns, and the constants that are used with them.

    Those of plain observations are named `observation.mean` and so on, those of a Dict's parts
    `observation.<key>.mean`; what is not normalised has none.
    """
    tensors = {"clip": torch.tensor(normaliser.clip_obs), "epsilon": torch.tensor(normaliser.epsilon)}
    named = {statistics_name(key): statistics for key, statistics in _observed(normaliser).items()}
    for name, statistics in (named | {"return": normaliser.ret_rms}).items():
        tensors[f"{name}.mean"] = torch.tensor(statistics.mean, dtype=torch.float64)
        tensors[f"{name}.variance"] = torch.tensor(statistics.var, dtype=torch.float64)
        tensors[f"{name}.count"] = torch.tensor(statistics.count, dtype=torch.float64)
    return save(tensors)


def statistics_name(key: str | None) -> str:
    """What the statistics of a Dict's part are called, or with None those of plain observations."""
    return "observation" if key is None else f"observation.{key}"


def _observed(normaliser: VecNormalize) -> dict[str | None, RunningMeanStd]:
    """The statistics of what is observed, by the keys of a Dict, or by None."""
    if not normaliser.norm_obs:
        return {}
    statistics: Any = normaliser.obs_rms
    return dict(statistics) if isinstance(statistics, dict) else {None: statistics}


def _put(normaliser: VecNormalize, key: str | None, statistics: RunningMeanStd) -> None:
    if key is None:
        normaliser.obs_rms = statistics  # type: ignore[assignment]
    else:
        normaliser.obs_rms[key] = statistics


_VARIABLES = "variable/"
"""Before the names of tensors that are no weights of a network: SAC's and TQC's entropy coefficient."""

# The last two are DQN's and QR-DQN's: when the target network is due, and how much is explored.
_COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_current_progress_remaining",
    "_n_calls",
    "exploration_rate",
)
_WINDOWS = ("ep_info_buffer", "ep_success_buffer")


def _counters(model: BaseAlgorithm) -> dict[str, Any]:
    counters: dict[str, Any] = {name: getattr(model, name) for name in _COUNTERS if hasattr(model, name)}
    return counters | {name: list(getattr(model, name) or []) for name in _WINDOWS}


def _variables(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    _, names = model._get_torch_save_params()
    return {f"{_VARIABLES}{name}": getattr(model, name).detach().cpu().clone() for name in names}


def _flatten(parameters: dict[str, dict[str, Any]]) -> dict[str, torch.Tensor]:
    """`policy/action_net.weight` for a weight, `policy.optimizer/3/exp_avg` for an optimiser's state."""
    tensors = {}
    for owner, entries in parameters.items():
        if _is_optimiser(entries):
            for index, state in entries["state"].items():
                tensors.update({f"{owner}/{index}/{name}": tensor for name, tensor in state.items()})
        else:
            tensors.update({f"{owner}/{name}": tensor for name, tensor in entries.items()})
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def _unflatten(tensors: dict[str, torch.Tensor], like: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The inverse of `_flatten`; an optimiser's settings are those it was built with."""
    parameters: dict[str, dict[str, Any]] = {
        owner: {"state": {}, "param_groups": entries["param_groups"]} if _is_optimiser(entries) else {}
        for owner, entries in like.items()
    }
    for path, tensor in tensors.items():
        owner, *names = path.split("/")
        if _is_optimiser(like[owner]):
            parameters[owner]["state"].setdefault(int(names[0]), {})[names[1]] = tensor
        else:
            parameters[owner][names[0]] = tensor
    return parameters


def _is_optimiser(entries: dict[str, Any]) -> bool:
    return "param_groups" in entries


def _running(tensors: dict[str, torch.Tensor], name: str) -> RunningMeanStd:
    statistics = RunningMeanStd()
    statistics.mean = tensors[f"{name}.mean"].numpy()
    statistics.var = tensors[f"{name}.variance"].numpy()
    statistics.count = float(tensors[f"{name}.count"])
    return statistics
