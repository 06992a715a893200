"""What the events of a run's containers add up to."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cli.jobs import LogLine
from contract.events import Progress, Started, Validated, decode

_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass
class SeedProgress:
    """How far the training of one seed is."""

    seed: int
    timesteps: int = 0
    total_timesteps: int = 0
    steps_per_second: float = 0.0
    seconds_left: float | None = None
    mean_return: float | None = None
    points: list[tuple[int, float]] = field(default_factory=list)
    """Steps and mean returns that were reported, by rising steps: what an attempt repeats, only the last one has."""
    resumed_at: int = 0
    """The step that the current attempt began at."""
    checkpoint: int = 0
    """The step of the newest complete checkpoint."""

    @property
    def returns(self) -> list[float]:
        """The mean returns that were reported, by rising steps."""
        return [value for _, value in self.points]

    @property
    def fraction(self) -> float:
        return min(1.0, self.timesteps / self.total_timesteps) if self.total_timesteps else 0.0

    def begin(self, event: Started) -> None:
        """Go back, or on, to where an attempt begins."""
        self.timesteps = self.resumed_at = event["timesteps"]
        self.total_timesteps, self.seconds_left = event["total_timesteps"], None
        self._forget(lambda step: step > event["timesteps"])

    def take(self, event: Progress) -> None:
        """Go on to what a progress event says."""
        self.timesteps, self.total_timesteps = event["timesteps"], event["total_timesteps"]
        self.steps_per_second, self.seconds_left = event["steps_per_second"], event["seconds_left"]
        if "mean_return" in event:
            self.mean_return = event["mean_return"]
            self._forget(lambda step: step >= event["timesteps"])
            self.points.append((event["timesteps"], event["mean_return"]))

    def _forget(self, which: Callable[[int], bool]) -> None:
        while self.points and which(self.points[-1][0]):
            self.points.pop()


@dataclass
class RunProgress:
    """The seeds of a run and, once there is one, validation's decision."""

    seeds: dict[int, SeedProgress] = field(default_factory=dict)
    validated: Validated | None = None

    def read(self, lines: Iterable[LogLine]) -> None:
        """Take in lines in the order in which they were written; plain text among them is passed over."""
        for line in lines:
            event = decode(line.message)
            if event is None:
                continue
            if event["event"] == "validated":
                self.validated = event
            elif event["event"] == "started":
                self._seed(event["seed"]).begin(event)
            elif event["event"] == "progress":
                self._seed(event["seed"]).take(event)
            elif event["event"] == "checkpoint":
                self._seed(event["seed"]).checkpoint = event["timesteps"]

    def _seed(self, seed: int) -> SeedProgress:
        return self.seeds.setdefault(seed, SeedProgress(seed))


def sparkline(values: list[float], width: int = 24) -> str:
    """Values as a line of blocks, at most `width` of them, from their lowest to their highest."""
    if not values:
        return ""
    step = max(1.0, len(values) / width)
    picked = [values[min(len(values) - 1, int((i + 1) * step) - 1)] for i in range(min(width, len(values)))]
    low, high = min(picked), max(picked)
    if high == low:
        return _BLOCKS[0] * len(picked)
    return "".join(_BLOCKS[round((value - low) / (high - low) * (len(_BLOCKS) - 1))] for value in picked)
