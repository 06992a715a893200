"""One training, from a plan to a model folder. The same for a container and for a person at a keyboard."""

import faulthandler
import math
import time
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from torch.distributions import Distribution

from contract.algorithms import ALGORITHMS, algorithms_for
from contract.events import Checkpointed, Ended, Progress, Started
from contract.layout import CHECKPOINTS, EVALUATIONS, METRICS, MODEL, TENSORBOARD
from contract.metrics import LOSS_NOT_FINITE
from contract.outcomes import ExitCode
from training_image.trainer import parallel
from training_image.trainer.callbacks import Callbacks
from training_image.trainer.command import leave
from training_image.trainer.envs import environments, images, spaces
from training_image.trainer.envs.normalising import normalised
from training_image.trainer.errors import NotFiniteError, UsageError
from training_image.trainer.fast import describe
from training_image.trainer.learning import algorithms, logged
from training_image.trainer.learning.offline import Offline
from training_image.trainer.monitoring.evaluations import Evaluations
from training_image.trainer.monitoring.metrics import Metrics, MetricsLog, steps_per_line
from training_image.trainer.monitoring.reporting import Reporter
from training_image.trainer.monitoring.supervisor import Supervisor, check_finite
from training_image.trainer.monitoring.telemetry import Telemetry
from training_image.trainer.monitoring.tensorboard import event_file
from training_image.trainer.monitoring.tracking import Tracking
from training_image.trainer.monitoring.watchdog import Watchdog
from training_image.trainer.plan import Plan
from training_image.trainer.policies import model
from training_image.trainer.recovery.checkpoints import Checkpoint, Checkpoints
from training_image.trainer.recovery.replay import Replay
from training_image.trainer.recovery.segments import Segments, segment_steps
from training_image.trainer.recovery.state import Parts, capture, restore
from training_image.trainer.recovery.stopping import Limits, Signals, Stop
from training_image.trainer.storage import Storage
from training_image.trainer.summary import Summary

_STATUSES = {ExitCode.DONE: "FINISHED", ExitCode.LIMIT: "KILLED", ExitCode.CHECKPOINTED: "KILLED"}
"""What MLflow calls ends; all others are FAILED. A training that is resumed is RUNNING again."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a training ended, and its summary as in training.json."""

    exit_code: ExitCode
    reason: str
    summary: dict[str, Any]


def train(plan: Plan, storage: Storage, reporter: Reporter, signals: Signals) -> Result:
    """Train, continuing from the newest complete checkpoint in `storage` if there is one.

    Writes checkpoints, metrics and a summary as training goes, and the model folder when it is done.

    Raises:
        UsageError: when the plan cannot be carried out, or `storage` holds another training.
        TrainingError: when the numbers diverge; the last good checkpoint stays.
    """
    summary = Summary(plan, storage)
    if summary.is_finished:
        return Result(exit_code=ExitCode.DONE, reason="this training is finished already", summary=summary.document)
    checkpoints = Checkpoints(storage.below(CHECKPOINTS), keep=plan.specification.checkpoint.keep)
    resume = checkpoints.newest(reporter.log)
    summary.begin(resume)
    limits = Limits(plan.specification.limits, seconds_before=summary.seconds)
    training = None
    try:
        plan = parallel.settle(plan, resume.about.get("parallel") if resume else None, reporter.log)
        training = _Training(plan, storage, reporter, signals, checkpoints, resume, limits)

        def give_up(reason: str) -> None:
            """The main thread hangs, so nobody else can say so."""
            summary.end(ExitCode.FAILED, reason, limits.seconds, None)
            faulthandler.dump_traceback()
            reporter.report(Ended(event="ended", exit_code=ExitCode.FAILED, reason=reason))
            leave(ExitCode.FAILED)

        del resume  # a large replay buffer need not be in memory twice
        minutes = plan.specification.limits.stuck_minutes
        with Watchdog(math.inf if minutes is None else 60 * minutes, give_up, training.silence) as watchdog:
            stop = training.run(watchdog)
    except Exception as error:
        progress = training.progress if training else None
        if training and isinstance(error, NotFiniteError):
            training.not_finite(str(error))
        exit_code = ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.FAILED
        summary.end(exit_code, str(error) or repr(error), limits.seconds, progress)
        if training:
            training.ended(exit_code)
        raise
    finally:
        if training:
            training.close()
    if stop is None:
        model.write(storage.below(MODEL), training.model, plan)
        stop = Stop(exit_code=ExitCode.DONE, reason=f"trained for {training.model.num_timesteps:,} steps")
    summary.end(stop.exit_code, stop.reason, limits.seconds, training.progress)
    training.ended(stop.exit_code)
    return Result(exit_code=stop.exit_code, reason=stop.reason, summary=summary.document)


class _Training:
    """The parts of a training, and what they tell each other."""

    def __init__(
        self,
        plan: Plan,
        storage: Storage,
        reporter: Reporter,
        signals: Signals,
        checkpoints: Checkpoints,
        resume: Checkpoint | None,
        limits: Limits,
    ) -> None:
        self._plan = plan
        self._storage = storage
        self._reporter = reporter
        self._checkpoints = checkpoints
        self._resume = resume
        self._limits = limits
        self._replay = Replay(checkpoints.store_block)
        each = steps_per_line(algorithms.rollout_steps(plan.hyperparameters))
        self._supervisor = Supervisor(signals, limits, steps_per_check=each)
        # Checking every distribution's arguments takes a third of a rollout; weights are checked at every update.
        Distribution.set_default_validate_args(False)
        self.model = _build_model(plan)
        self._take_log(fresh=resume is None)
        if how := describe(self.model):
            reporter.log(how)
        reporter.log(f"trained on {self.model.device.type}: {_why_there(self.model)}")
        self._metrics_log = MetricsLog(
            steps_per_line=each,
            document=storage.read(METRICS) if resume else None,
            up_to=resume.timesteps if resume else 0,
        )
        self._evaluations = Evaluations(
            plan,
            reporter.log,
            document=storage.read(EVALUATIONS) if resume else None,
            up_to=resume.timesteps if resume else 0,
        )
        self._telemetry = Telemetry(
            plan, reporter.report, limits, lines=self._metrics_log.lines, evaluation=lambda: self._evaluations.newest
        )
        self._metrics = Metrics(
            self._metrics_log,
            seed=plan.seed,
            total=plan.specification.timesteps,
            seconds=lambda: limits.seconds,
            progress=reporter.report,
            telemetry=self._telemetry,
        )
        self._tracking = Tracking(plan, reporter.log)
        self._latest: tuple[int, Parts] | None = None
        self._stored_at = time.monotonic()

    def _take_log(self, *, fresh: bool) -> None:
        """Learn from logged experience, or begin with it; what a checkpoint has of it already is not done again."""
        data = self._plan.specification.data
        model, place = self.model, self._plan.log
        if data is None or data.kind != "transitions" or not (fresh or isinstance(model, Offline)):
            return
        if place is None:
            raise UsageError("--data: the folder of the log that it learns from, as prepare_data.py wrote it")
        log = logged.read(place, model.observation_space, model.action_space)
        if isinstance(model, Offline):
            model.study(log)
            said = f"learns from {len(log):,} logged transitions"
        else:
            said = logged.begin(model, log, clone_steps=data.clone_steps, seed=self._plan.seed)
        self._reporter.log(said)

    def run(self, watchdog: Watchdog) -> Stop | None:
        """Train to the end, or until something stops it."""
        plan = self._plan
        timesteps, total = self._resume.timesteps if self._resume else 0, plan.specification.timesteps
        self._reporter.report(Started(event="started", seed=plan.seed, timesteps=timesteps, total_timesteps=total))
        segments = Segments(
            seed=plan.seed,
            steps=segment_steps(
                episode_steps=environments.episode_steps(plan.environment),
                copies=_environment(self.model).num_envs,
                rollout_steps=algorithms.rollout_steps(plan.hyperparameters),
            ),
            restore=self._restore if self._resume else None,
            at_start=self._segment_starts,
        )
        # In this order: what a segment starts with must be finite, and in the metrics, before it is kept.
        callback = Callbacks([watchdog, self._supervisor, self._metrics, self._evaluations, segments])
        try:
            self.model.learn(total, callback=callback, log_interval=None)  # type: ignore[arg-type]
        finally:
            self._save_metrics()
        if self._supervisor.stopped is None:
            self._capture()
            if plan.specification.checkpoint.every_seconds is not None:
                self._store()
        elif self._latest is not None:
            # Training goes back to where the segment started: from there it continues exactly.
            self._store()
        return self._supervisor.stopped

    def ended(self, exit_code: ExitCode) -> None:
        """Tell of the end in the formats of other tools."""
        lines = self._metrics_log.lines
        self._storage.write(TENSORBOARD, event_file(lines))
        self._tracking.tell(lines, _STATUSES.get(exit_code, "FAILED"))

    def close(self) -> None:
        """Let what is being written in the background be written, and end the environments."""
        self._replay.close()
        _environment(self.model).close()

    def silence(self, seconds: float) -> None:
        """There was no step for so long."""
        self._telemetry.silence(seconds, self.model.num_timesteps)

    def not_finite(self, reason: str) -> None:
        """A loss or a weight is no number any more."""
        self._telemetry.trouble(LOSS_NOT_FINITE, 1, self.model.num_timesteps, reason)

    @property
    def progress(self) -> Progress | None:
        """Where training stands; None before it began."""
        return self._metrics.snapshot() if self._latest is not None else None

    def _save_metrics(self) -> None:
        self._storage.write(METRICS, self._metrics_log.encode())
        self._tracking.tell(self._metrics_log.lines)
        if evaluations := self._evaluations.encode():
            self._storage.write(EVALUATIONS, evaluations)

    def _restore(self) -> None:
        assert self._resume is not None
        restore(self.model, self._resume.parts)
        self._replay.restore(self.model, self._resume.parts, self._resume.blocks)
        self._resume = None

    def _capture(self) -> None:
        check_finite(self.model)
        self._latest = (self.model.num_timesteps, capture(self.model) | self._replay.capture(self.model))

    def _segment_starts(self) -> None:
        self._capture()
        every = self._plan.specification.checkpoint.every_seconds
        if every is not None and time.monotonic() - self._stored_at >= every:
            self._store()

    def _store(self) -> None:
        assert self._latest is not None
        timesteps, parts = self._latest
        self._save_metrics()
        about = {
            "identity": self._plan.identity,
            "seconds": round(self._limits.seconds, 3),
            "parallel": parallel.settled(self._plan),
        }
        if self._checkpoints.store(timesteps, parts, about, self._replay.blocks(parts)):
            self._reporter.report(Checkpointed(event="checkpoint", seed=self._plan.seed, timesteps=timesteps))
        self._telemetry.stored()
        self._stored_at = time.monotonic()


def _why_there(model: BaseAlgorithm) -> str:
    if not images.are_pictures(environments.observed(model)):
        return "a small network waits longer for a GPU than it computes"
    return "observations are pictures" + ("" if model.device.type == "cuda" else ", but there is no GPU here")


def _build_model(plan: Plan) -> BaseAlgorithm:
    h = plan.hyperparameters
    environment = environments.make(plan.specification.environment, h.n_envs or 1, processes=plan.processes)
    _check_algorithm(plan, environment)
    if getattr(h, "normalize", None):
        environment = normalised(environment, h.gamma or 0.99)
    built = algorithms.build(plan.specification.algorithm.name, environment, h, plan.seed)
    built.set_logger(Logger(None, []))  # metrics take the values from it; nothing is printed
    return built


def _check_algorithm(plan: Plan, environment: VecEnv) -> None:
    """The catalogue has checked it, for the environment without its arguments and as it was when it was written."""
    acts, observed = (
        spaces.summarise(space).kind for space in (environment.action_space, environment.observation_space)
    )
    name = plan.specification.algorithm.name
    # Whether it says which actions are valid does not depend on its spaces, so the catalogue knows.
    able = algorithms_for(acts, observed, masks=ALGORITHMS[name].needs_masks, logs=ALGORITHMS[name].is_offline)
    if name not in able:
        raise UsageError(
            f"algorithm.name: an algorithm for {plan.environment} with these arguments, which has {acts} actions and "
            f"{observed} observations: {', '.join(able) or 'there is none'} (given: {name!r})"
        )


def _environment(trained: BaseAlgorithm) -> VecEnv:
    assert trained.env is not None
    return trained.env
