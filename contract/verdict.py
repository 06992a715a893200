"""What validation says of a policy; written to `verdict.json` and read by the state machine."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Rule = Literal["min_return", "off-policy", "champion", "champion differs", "champion missing"]
"""`min_return`: the policy's own returns decided. `off-policy`: there was no simulator, and the estimate from the log
decided. `champion`: the comparison with the policy that serves. The others: it could not be compared, since its spaces
are others, or its files are not there."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Figures(_Model):
    """A policy over a set of held-out episodes. Intervals are bootstrap intervals at the verdict's confidence.

    Where there is no simulator no episode is played: mean and interval are estimated from a log, and the rest is null.
    """

    episodes: int = Field(description="Held-out episodes that were played; 0 where there is no simulator.")
    mean_return: float
    mean_interval: tuple[float, float]
    iqm_return: float | None = Field(
        default=None, description="Interquartile mean: of the half of the returns in the middle."
    )
    iqm_interval: tuple[float, float] | None = None
    std_return: float | None = None
    min_episode_return: float | None = None
    max_episode_return: float | None = None
    worst_decile: float | None = Field(default=None, description="Mean return of the worst tenth of the episodes.")
    mean_length: float | None = None
    max_length: int | None = None
    truncation_rate: float | None = Field(default=None, description="Share of episodes that a limit of time ended.")
    failure_rate: float | None = Field(
        default=None,
        description="Share of episodes that the environment calls a failure, or where it does not say, "
        "whose return is below min_return.",
    )


class Comparison(Figures):
    """The champion on the judging episodes, and the chosen policy's lead over it, episode by episode."""

    run_id: str = Field(description="The run that the champion comes from.")
    endpoint: str
    difference: float = Field(description="Mean of the chosen policy's return minus the champion's.")
    difference_interval: tuple[float, float]
    difference_lower_bound: float = Field(description="Lower end of the one-sided interval of the difference.")
    margin: float = Field(description="The lower bound had to reach minus this.")
    probability_of_improvement: float | None = Field(
        default=None, description="Share of the episodes in which the chosen policy does better; a tie counts half."
    )
    probability_interval: tuple[float, float] | None = None


class AcrossSeeds(_Model):
    """All seeds' policies together on the choosing episodes; intervals are stratified by seed."""

    mean_return: float
    mean_interval: tuple[float, float]
    iqm_return: float
    iqm_interval: tuple[float, float]


class Baseline(_Model):
    """Another way to act, on the judging episodes."""

    mean_return: float
    difference: float = Field(description="Mean of the policy's return minus this one's, episode by episode.")
    difference_lower_bound: float = Field(description="Lower end of the one-sided interval of the difference.")


class Baselines(_Model):
    """What a return is worth, where the environment knows."""

    rules: dict[str, Baseline] = Field(description="By name; `nothing` does nothing.")
    optimum: float | None = Field(description="Mean of the most that could be earned in each episode with foresight.")
    share_of_optimum: float | None = Field(description="The policy's mean return as a share of that.")


class OffPolicy(_Model):
    """What the policy would earn, from held-out episodes of a log alone. It decides where there is no simulator."""

    method: Literal["fitted Q evaluation"]
    gamma: float = Field(description="By which returns are discounted here: the policy's own discount factor.")
    estimate: float = Field(description="Mean discounted return, as if no episode had a limit of time.")
    interval: tuple[float, float] = Field(
        description="Percentile interval over resampled episodes and redrawn features. It does not cover what the "
        "features cannot tell apart, nor what the log never shows."
    )
    lower_bound: float = Field(description="Lower end of the one-sided interval.")
    confidence: float
    log_return: float = Field(description="Mean discounted return of these logged episodes, as they were.")
    log_estimate: float | None = Field(
        description="What those who acted in the log would earn, estimated in the same way: comparable with the "
        "policy's estimate also where logged episodes were cut short. Null where it is never known what they did next."
    )
    episodes: int = Field(description="Logged episodes that this rests on.")
    transitions: int = Field(description="Of which it is known what came next.")


class Verdict(Figures):
    """The decision, the rule that made it, and the evidence. The figures are the chosen policy's."""

    passed: bool
    rule: Rule = Field(description="What decided.")
    reason: str = Field(description="A sentence or two: which rule decided, with its figures.")
    seed: int = Field(description="The training seed whose policy was chosen.")
    lower_bound: float = Field(description="Lower end of the one-sided interval of the mean return.")
    confidence: float
    min_return: float = Field(description="What the lower bound had to reach.")
    champion: Comparison | None = Field(description="Null where there was none, or it was not asked for.")
    across_seeds: AcrossSeeds | None = Field(description="Null where there was only one.")
    onnx_observations: int = Field(description="Recorded observations on which ONNX and torch gave equal actions.")
    candidates: dict[str, float] = Field(
        description="Mean return of each seed's policy, by seed; without a simulator estimated from that part of the "
        "log that was trained on."
    )
    baselines: Baselines | None = Field(default=None, description="Null where the environment names none.")
    off_policy: OffPolicy | None = Field(
        default=None, description="Null where the run learns from no log, or too few episodes of it are held out."
    )
