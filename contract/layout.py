"""Where a run's files lie. One prefix a run; everything in it is written once and never renamed."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

RUN_FILE = "run.yaml"
DATA_FOLDER = "data"
"""Beside a run file: the data that its runs learn from."""
ERROR_SUFFIX = ".error.txt"

# SageMaker's limit for model, endpoint and endpoint-config names; an execution's name may have 80.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html
MAX_NAME = 63
CHAMPIONS = "champions"
CAPTURED = "captured"
"""Folder of the requests and answers that SageMaker captures, by endpoint, variant and hour."""
REHEARSAL = "rehearsal-"
"""How the names of endpoints begin that are there for a deployment only."""
ENDPOINT_HEADER = "X-Rlpipe-Endpoint"
"""Of a request to the load balancer: which service on ECS it is for."""
ORPHANS_FILE = "orphans.json"
"""What the sweeper found last."""
_DIGEST = 12


def experiment_of(key: str) -> str:
    """The experiment that an input object belongs to: the folder it lies in, as a valid AWS name.

    `cartpole/run.yaml` gives `cartpole`, `team/cartpole/run.yaml` gives `team-cartpole`, and a file at the
    top of the bucket belongs to `default`.
    """
    folder = str(PurePosixPath(key).parent)
    name = re.sub(r"[^a-zA-Z0-9]+", "-", folder).strip("-")
    return name[: MAX_NAME - _DIGEST - 1].rstrip("-") or "default"


def run_id_of(bucket: str, key: str, version_id: str, *, run_file: str | None = None) -> str:
    """The run that one version of one input object starts, whatever number of times its event arrives.

    It is the execution's name, so Step Functions itself refuses a second start.

    :param run_file: the key of the experiment's run file, where the object is not that itself but data beside it.
    """
    digest = hashlib.sha256("\0".join((bucket, key, version_id)).encode()).hexdigest()
    return f"{experiment_of(run_file or key)}-{digest[:_DIGEST]}"


def run_files_beside(key: str) -> list[str]:
    """The keys that the run file may have to which a data object belongs, the nearest first.

    `a/data/b/data/c.csv` may belong to `a/data/b/run.yaml` or to `a/run.yaml`.
    """
    parts = key.split("/")
    folders = [parts[:index] for index in range(len(parts) - 1) if parts[index] == DATA_FOLDER]
    return ["/".join([*folder, RUN_FILE]) for folder in reversed(folders)]


def experiment_of_run(run_id: str) -> str:
    """The experiment that a run belongs to."""
    return run_id.rpartition("-")[0] or run_id


def error_key(key: str) -> str:
    """Where the reasons of a refusal lie: beside the refused object."""
    return key + ERROR_SUFFIX


def rehearsal_endpoint(run_id: str) -> str:
    """The endpoint that a run's policy rehearses at, before it takes over the one that it is for."""
    return f"{REHEARSAL}{run_id.rpartition('-')[2]}"


def shadow_config(run_id: str) -> str:
    """The endpoint configuration with which a run's policy is in the shadow of the one that serves."""
    return f"shadow-{run_id.rpartition('-')[2]}"


def drift_key(endpoint: str) -> str:
    """How far what an endpoint was asked of late is from what its policy was validated on."""
    return f"drift/{endpoint}.json"


def champion_key(endpoint: str) -> str:
    """Who serves at an endpoint, since when and by which verdict."""
    return f"{CHAMPIONS}/{endpoint}.json"


@dataclass(frozen=True, kw_only=True)
class RunLayout:
    """The keys of one run in the artifacts bucket."""

    run_id: str

    @property
    def prefix(self) -> str:
        return f"runs/{self.run_id}"

    @property
    def specification(self) -> str:
        """The resolved run file (`contract.run.ResolvedRun`)."""
        return f"{self.prefix}/run.json"

    @property
    def outcome(self) -> str:
        return f"{self.prefix}/outcome.json"

    @property
    def verdict(self) -> str:
        return f"{self.prefix}/{VERDICT}"

    @property
    def episodes(self) -> str:
        """Every episode that was played for the verdict (`contract.episodes.EpisodesDocument`)."""
        return f"{self.prefix}/{EPISODES}"

    @property
    def report(self) -> str:
        return f"{self.prefix}/{REPORT}"

    def video(self, name: str) -> str:
        """One of `VIDEOS`, where the environment can be drawn."""
        return f"{self.prefix}/{video_file(name)}"

    @property
    def golden(self) -> str:
        return f"{self.prefix}/{GOLDEN}"

    @property
    def shadow(self) -> str:
        """What a candidate has shown in the shadow of the policy that served."""
        return f"{self.prefix}/{SHADOW}"

    @property
    def model_archive(self) -> str:
        """What SageMaker serves."""
        return f"{self.prefix}/{MODEL_ARCHIVE}"

    def seed(self, seed: int) -> str:
        """The prefix of one seed's checkpoints, model and training summary."""
        return f"{self.prefix}/{seed_folder(seed)}"


# Below, paths relative to a run's prefix; the containers are given the prefix as a URI or a local folder.
SPECIFICATION = "run.json"
VERDICT = "validation/verdict.json"
EPISODES = "validation/episodes.json"
REPORT = "validation/report.html"
VIDEOS = ("best", "median", "worst")
"""The held-out episodes that are filmed."""
GOLDEN = "validation/golden.json"
SHADOW = "validation/shadow.json"
MODEL_ARCHIVE = "model.tar.gz"
DATASET = "data/dataset.json"
DATA_CARD = "data/card.html"
REJECTED_ROWS = "data/rejected.parquet"
TRAINING_DATA = "data/train"
HELD_OUT_DATA = "data/held_out"


def video_file(name: str) -> str:
    """The film of one of `VIDEOS`, relative to the run's prefix."""
    return f"validation/episode-{name}.webp"


def seed_folder(seed: int) -> str:
    """One seed's folder, relative to the run's prefix."""
    return f"seed-{seed}"


# Relative to a seed's folder.
CHECKPOINTS = "checkpoints"
CHECKPOINT_TAG = ("rlpipe", "checkpoint")
"""Tag of every object below `CHECKPOINTS`, by which it expires; what a run is about to serve stays."""
MODEL = "model"
EVALUATIONS = "evaluations.jsonl"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard/events.out.tfevents.rlpipe"
"""The same for TensorBoard, which knows its files by a part of their names; written when an attempt ends."""
TRAINING_SUMMARY = "training.json"
