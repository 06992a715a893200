"""Who is measured: our own commands, the usual first program, and other libraries in environments of their own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import ROOT

TOOLS = ROOT / ".cache" / "peers"
HERE = Path(__file__).parent

REQUIREMENTS = {
    "rl-zoo3": ["rl_zoo3==2.9.2"],
    "sbx": ["sbx-rl==0.28.0"],
    "tianshou": ["tianshou[eval]==2.0.1"],
    "cleanrl": ["gymnasium==1.4.0", "torch", "numpy"],
    "rllib": ["ray[rllib]==2.60.0", "torch"],
    "pandas": ["pandas==3.1.1", "pyarrow==26.0.1"],
    "mlserver": ["mlserver==1.7.1", "onnxruntime==1.31.1", "uvloop<0.22"],
    "mms": ["sagemaker-inference==1.10.1", "multi-model-server==1.1.11", "onnxruntime==1.31.1", "setuptools<70"],
    "bentoml": ["bentoml==1.4.40", "onnxruntime==1.31.1"],
    "ray": ["ray[serve]==2.60.0", "onnxruntime==1.31.1"],
    "torchserve": [
        "torchserve==0.12.0",
        "torch-model-archiver==0.12.0",
        "onnxruntime==1.31.1",
        "torch==2.13.0",
        "pyyaml",
    ],
    "litserve": ["litserve==0.2.19", "onnxruntime==1.31.1"],
    "fastapi": ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", "stable-baselines3==2.9.2", "torch==2.13.0"],
}
"""What pip puts into the environment of each other library."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row of the table. `command` may name `{seed}`, `{output}` and the `{python}` of its environment."""

    name: str
    title: str
    command: tuple[str, ...]
    environment: str | None = None
    rounds: int = 5

    def arguments(self, seed: int, output: Path) -> list[str]:
        """The command of one run."""
        python = TOOLS / self.environment / "bin" / "python" if self.environment else Path(sys.executable)
        return [part.format(seed=seed, output=output, python=python) for part in self.command]


def install(environment: str) -> None:
    """Make the environment of another library, once."""
    folder = TOOLS / environment
    if (folder / ".complete").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *REQUIREMENTS[environment]], check=True)
    (folder / ".complete").touch()


def _ours(name: str, title: str, *arguments: str, rounds: int = 5) -> Contender:
    script = str(ROOT / "training_image" / "train_rl.py")
    common = ("--env", "CartPole-v1", "--timesteps", "100000", "--evaluate-every", "10000")
    command = ("{python}", script, *common, "--seed", "{seed}", "--output", "{output}/run", *arguments)
    return Contender(name=name, title=title, command=command, rounds=rounds)


def _script(
    name: str, title: str, file: str, *arguments: str, environment: str | None = None, rounds: int
) -> Contender:
    command = ("{python}", str(HERE / file), "{seed}", "{output}", *arguments)
    return Contender(name=name, title=title, command=command, environment=environment, rounds=rounds)


_USUAL = {
    "n_envs": "1",
    "n_steps": "2048",
    "batch_size": "64",
    "n_epochs": "10",
    "learning_rate": "3e-4",
    "clip_range": "0.2",
    "gamma": "0.99",
    "gae_lambda": "0.95",
    "max_grad_norm": "0.5",
    "net_arch": "[64,64]",
}
_AS_USUAL = [part for name, value in _USUAL.items() for part in ("--set", f"{name}={value}")]
_ZOO = ("--algo", "ppo", "--env", "CartPole-v1", "-n", "100000", "--seed", "{seed}", "-f", "{output}")

CONTENDERS = [
    _ours("ours-fast", "ours, fast path"),
    _ours("ours-sb3", "ours, Stable-Baselines3's class", "--set", "fast=false"),
    _script("sample", "the usual first program", "guide_sample.py", rounds=2),
    _ours("ours-fast-usual", "ours, fast path, the first program's hyperparameters", *_AS_USUAL, rounds=2),
    _ours("ours-sb3-usual", "ours, SB3's class, the same", "--set", "fast=false", *_AS_USUAL, rounds=1),
    _script("sample-ours", "the first program with our hyperparameters", "guide_sample.py", "--ours", rounds=2),
    Contender(
        name="rl-zoo3",
        title="rl-zoo3 2.9.2, its command line",
        command=("{python}", "-m", "rl_zoo3.train", *_ZOO),
        environment="rl-zoo3",
        rounds=2,
    ),
    _script("sbx", "sbx 0.28.0", "sbx_ppo.py", environment="sbx", rounds=2),
    _script("single-file", "single file in CleanRL's style", "single_file_ppo.py", environment="cleanrl", rounds=2),
    _script("tianshou", "tianshou 2.0.1, high-level", "tianshou_ppo.py", environment="tianshou", rounds=1),
    _script("rllib", "RLlib 2.60.0, no other workers", "rllib_ppo.py", environment="rllib", rounds=1),
]
