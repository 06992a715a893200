"""docs/algorithms/, made from the contract, the tuned hyperparameters and the learning results:
`python -m training_image.algorithm_pages` writes it.
"""

import io
import statistics
import sys
from collections.abc import Iterator
from typing import Any

from contract.algorithms import ALGORITHMS, Algorithm
from training_image.learning_table import CASES, FOLDER, TABLE, read, table
from training_image.trainer.learning import hyperparameters

_LOOKS: Any = {"svg.hashsalt": "rlpipe", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
"""The same results give the same bytes, and text stays text."""

_INK = "#777777"
"""Readable on a light and on a dark page."""

_REPEATABLE = """
## The same again

The same run file, seed, image and kind of processor give the same weights, bit for bit, interrupted or not; tests hold
every algorithm to that on a CPU. Nothing needs to be switched on: at fixed steps every random source is seeded anew and
every environment is built anew. Networks that see pictures are trained on a GPU where there is one. There the
deterministic kernels of CUDA and cuBLAS are asked for (`torch.use_deterministic_algorithms`, and
`CUBLAS_WORKSPACE_CONFIG=:4096:8`); what has none is warned of in the log. Equality on a GPU has not been measured.
Precision is single throughout; mixed precision is not used.
"""

_ABOUT = {
    "ppo": (
        "Improves a policy on its own fresh steps, in small batches, and never lets an update move it far. The "
        "first to try: it acts in every action space and is hard to break.",
        "For MLP policies a path in numpy computes the same updates several times faster; it is chosen where a test "
        "holds it to Stable-Baselines3's own. Schedules `lin_x` stop at 0 where Stable-Baselines3's would go below it "
        "in the last update.",
    ),
    "a2c": (
        "One gradient step on a few steps of several environments. Simpler and less steady than PPO.",
        "RMSprop is torch's, with Stable-Baselines3's constants, and not TensorFlow's variant.",
    ),
    "reinforce": (
        "The plain policy gradient: every action of an episode becomes more likely by the return that followed it.",
        "Not in Stable-Baselines3; built on its on-policy base class. Beyond the paper: a learnt baseline (the value "
        "network), advantages scaled in each update, gradient clipping, and an episode cut by its time limit goes on "
        "with what the value network expects.",
    ),
    "recurrent-ppo": (
        "PPO whose policy remembers, for environments that do not show everything at once.",
        "The exported graph takes and gives its memory (`state`, `next_state`). An endpoint's answer has a `state`, "
        "which the next request of the episode gives back.",
    ),
    "maskable-ppo": (
        "PPO that never tries an action which the environment calls invalid.",
        "The environment says so by a method `action_masks`, or as Gymnasium's own do by `info['action_mask']`. The "
        "exported graph takes them too (`action_mask`), and so must a request to an endpoint have them.",
    ),
    "dqn": (
        "Learns the value of every action from remembered steps, and takes the best.",
        "For MLP policies on numbers a path in numpy computes the same updates two to three times as fast; it is "
        "chosen where a test holds it to Stable-Baselines3's own. The buffer holds 100,000 transitions unless told "
        "otherwise, not a million.",
    ),
    "qrdqn": (
        "DQN that learns how the return of every action is distributed, as quantiles; the best mean is taken.",
        "For MLP policies on numbers a path in numpy computes the same updates two to seven times as fast, the "
        "more quantiles the faster; it is chosen where a test holds it to sb3-contrib's own. The buffer holds "
        "100,000 transitions and there are 50 quantiles unless told otherwise.",
    ),
    "sac": (
        "Learns from remembered steps a policy that is as random as it can afford to be. For continuous actions, and "
        "sparing with steps.",
        "The exported policy takes the mean of the distribution; squashing and scaling to the action space are in the "
        "graph.",
    ),
    "td3": (
        "Learns from remembered steps a deterministic policy, against the smaller of two critics.",
        "Scaling to the action space is in the exported graph. Updates follow a number of steps and never whole "
        "episodes.",
    ),
    "tqc": (
        "SAC whose critics learn the distribution of returns and leave out its highest part.",
        "Squashing and scaling to the action space are in the exported graph. On a CPU the loss and its gradient are "
        "computed in numpy, some transitions at a time, the same to within rounding: an update takes half as long.",
    ),
    "q-learning": (
        "A table with the value of every action in every state. For small discrete environments nothing is quicker.",
        "Not in Stable-Baselines3. An episode cut by its time limit goes on with the table's own value. The exported "
        "policy is a row of the table (ONNX Gather) and its highest entry.",
    ),
    "bc": (
        "Does what a log does: the first thing to try with one, and what every other way must be better than.",
        "A step is one update on a batch of the log. Observations are scaled by the log's own statistics.",
    ),
    "iql": (
        "Learns from a log more than it does: actions that turned out better than others are cloned more. For all "
        "kinds of actions.",
        "A step is one update. Rewards are scaled so that the log's returns have a standard deviation of 1, which "
        "makes one temperature fit many environments. Choices are one-hot numbers to the critics. The transition at "
        "the end of an episode that was cut short is left out where the log has no `next_observation`.",
    ),
}
"""What it is, and what differs from the paper or from Stable-Baselines3."""


def pages(results: list[dict[str, Any]]) -> dict[str, str]:
    """Every file of the folder but the results themselves, by name."""
    files = {"README.md": "\n".join(_index()), TABLE: table(results)}
    for name, algorithm in ALGORITHMS.items():
        mine = [result for result in results if result["algorithm"] == name]
        files[f"{name}.md"] = "\n".join(_page(algorithm, mine))
        for environment in sorted({result["environment"] for result in mine}):
            files[_picture(name, environment)] = _curves([one for one in mine if one["environment"] == environment])
    return files


def main() -> int:
    """Write the pages."""
    for name, text in pages(read(FOLDER)).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def _index() -> Iterator[str]:
    yield "# Algorithms\n"
    yield "Made by `python -m training_image.algorithm_pages`. What each learns: [learning.md](learning.md).\n"
    yield "| name | algorithm | actions | observations | tuned for |"
    yield "| --- | --- | --- | --- | --- |"
    for name, algorithm in ALGORITHMS.items():
        tuned = ", ".join(environment for environment in hyperparameters.tuned(name) if environment != "default")
        yield (
            f"| [{name}]({name}.md) | {algorithm.title} | {_spaces(algorithm.action_spaces)} | "
            f"{_spaces(algorithm.observation_spaces)} | {tuned or '-'} |"
        )
    yield _REPEATABLE


def _page(algorithm: Algorithm, results: list[dict[str, Any]]) -> Iterator[str]:
    name = algorithm.name
    what, differs = _ABOUT[name]
    tuned = hyperparameters.tuned(name)
    environments = [environment for environment in tuned if environment != "default"]
    yield f"# {algorithm.title}\n"
    yield f"`{name}`. {what}\n"
    yield f"- Paper: {algorithm.paper}"
    yield f"- Actions: {_spaces(algorithm.action_spaces)}. Observations: {_spaces(algorithm.observation_spaces)}."
    yield f"- What differs: {differs}\n"
    example = environments[0] if environments else "CartPole-v1"
    log = " --data DIR" if algorithm.is_offline else ""
    yield f"    python training_image/train_rl.py --algo {name} --env {example}{log} --timesteps 100000\n"
    yield "## Hyperparameters\n"
    yield "| name | default | meaning |"
    yield "| --- | --- | --- |"
    for field, value in tuned["default"].items():
        description = algorithm.hyperparameters.model_fields[field].description
        yield f"| `{field}` | `{_shown(value)}` | {description} |"
    yield f"\nTuned: `training_image/hyperparameters/{name}.yaml`, for {', '.join(environments) or 'none yet'}.\n"
    yield "## Learning\n"
    if not results:
        yield "Not measured yet; `python -m training_image.learning_table` has the cases.\n"
    for environment in sorted({result["environment"] for result in results}):
        yield from _learning(name, environment, [one for one in results if one["environment"] == environment])


def _learning(name: str, environment: str, results: list[dict[str, Any]]) -> Iterator[str]:
    returns = [result["mean_return"] for result in results]
    case = next(case for case in CASES if case.has(results[0]))
    seeds = f"{len(results)} seeds" if len(results) > 1 else "1 seed"
    yield f"### {environment}\n"
    yield (
        f"{case.timesteps:,} steps, {seeds}: median {statistics.median(returns):.1f} of the mean returns over "
        f"100 held-out episodes ({min(returns):.1f} to {max(returns):.1f}), "
        f"{statistics.median(result['cpu_seconds'] for result in results):.0f} CPU seconds a seed."
        + ("" if case.zoo is None else f" rl-baselines3-zoo's agent: {case.zoo_has}.")
    )
    yield f"\n![mean return over steps]({_picture(name, environment)})\n"


def _curves(results: list[dict[str, Any]]) -> str:
    """The learning curves as SVG; of several seeds the mean too."""
    import matplotlib  # after a second of import
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_LOOKS):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for result in results:
            axes.plot(*zip(*result["curve"], strict=True), linewidth=1.4, label=f"seed {result['seed']}")
        axes.set_xlabel("environment steps", color=_INK)
        axes.set_ylabel("mean return in training", color=_INK)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(color=_INK, alpha=0.25)
        axes.tick_params(colors=_INK)
        axes.spines[:].set_visible(False)
        if len(results) > 1:
            axes.legend(frameon=False, labelcolor=_INK)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return written.getvalue()


def _picture(algorithm: str, environment: str) -> str:
    return f"{algorithm}-{environment}.svg"


def _spaces(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
