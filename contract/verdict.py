"""What validation says of a policy; written to `verdict.json` and read by the state machine."""

from pydantic import BaseModel, ConfigDict, Field


class Verdict(BaseModel):
    """The decision, the rule that made it, and the evidence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    passed: bool
    reason: str = Field(description="One sentence: which rule decided, with its figures.")
    seed: int = Field(description="The training seed whose policy was chosen.")
    episodes: int = Field(description="Held-out episodes the decision rests on.")
    mean_return: float
    std_return: float
    min_episode_return: float
    max_episode_return: float
    mean_length: float
    lower_bound: float = Field(description="Lower end of the one-sided bootstrap interval of the mean return.")
    confidence: float
    min_return: float = Field(description="What the lower bound had to reach.")
    onnx_observations: int = Field(description="Recorded observations on which ONNX and torch gave equal actions.")
    candidates: dict[str, float] = Field(description="Mean return of each seed's policy, by seed.")
