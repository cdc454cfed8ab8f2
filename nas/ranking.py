"""A front in an order: by a reward."""

from collections.abc import Sequence

from nas.config import make_config
from nas.goal import goal_of, parse_reward
from nas.reward import Reward
from results.candidate import CandidateResult
from results.run import Run


def rank(
    members: Sequence[CandidateResult], reward: Reward | str
) -> list[tuple[CandidateResult, float | None]]:
    """Candidates with their rewards, the best first; None, and last, are those that lack a quantity.

    Raises:
        ConfigError: no such reward; see `nas.goal.parse_reward`.
    """
    climbed = parse_reward(reward) if isinstance(reward, str) else reward
    rewards = [(member, climbed(_numbers(member))) for member in members]
    return sorted(rewards, key=lambda each: -float("inf") if each[1] is None else each[1], reverse=True)


def reward_of_run(run: Run) -> Reward:
    """What a run was told to climb: the product of its objectives unless something else was said."""
    config = make_config(run.config.get("config") or {})
    return goal_of(config, task_reward=(run.config.get("task") or {}).get("reward")).reward


def _numbers(member: CandidateResult) -> dict[str, float]:
    return {name: float(value) for name, value in member.cost._asdict().items()} | dict(member.metrics)
