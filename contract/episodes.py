"""`validation/episodes.json`: every episode that was played for a verdict. Standard library only.

All policies of a set play the same episodes: number `i` of a list is the same episode for each of them.
"""

from typing import Literal, TypedDict

CHAMPION = "champion"
"""Name of the serving policy among the policies of a set; the others are named by their training seed."""


class PolicyEpisodes(TypedDict):
    """What one policy made of the episodes of a set, in their order."""

    returns: list[float]
    lengths: list[int]
    truncated: list[bool]
    """Whether a limit of time ended it."""
    failed: list[bool]
    """Whether the environment called it a failure (`info["is_success"]`); where it does not say, whether its return is
    below `min_return`."""


class EpisodeSet(TypedDict):
    """Policies on the same episodes."""

    first_seed: int
    """Of the environment; the seeds of the episodes follow it."""
    policies: dict[str, PolicyEpisodes]
    """By training seed, and `champion`."""


class EpisodesDocument(TypedDict):
    """`validation/episodes.json`."""

    format: Literal[1]
    run_id: str
    environment: str
    min_return: float
    chosen: str
    """The training seed that was chosen."""
    choosing: EpisodeSet | None
    """The episodes by which a seed was chosen; null where there was only one."""
    judging: EpisodeSet
    """Other episodes, on which the chosen one was judged, and compared with the champion."""
