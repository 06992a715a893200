"""The verdict where there is no simulator: what held-out episodes of a log say of a policy (see `off_policy`)."""

from contract.run import ValidationSection
from contract.verdict import Comparison, Rule, Verdict
from training_image.trainer.errors import UsageError
from training_image.trainer.policies.evaluation import Policy
from training_image.trainer.verdict import judging
from training_image.trainer.verdict.champion import Champion, Incomparable
from training_image.trainer.verdict.off_policy import Estimator, Worth


def judge(
    estimator: Estimator,
    policy: Policy,
    *,
    seed: int,
    rules: ValidationSection,
    onnx_observations: int,
    candidates: dict[str, float],
    champion: Champion | Incomparable | None = None,
) -> Verdict:
    """Passed if the estimated return is at least `min_return` with this confidence, or where that is left out, what the
    log's own actions are worth; and, where there is a champion, not lower than its by more than the margin.

    :param estimator: of the held-out episodes.
    :param candidates: what each seed's policy is estimated to earn by the part of the log that was trained on; empty
        where there is only one.

    Raises:
        UsageError: `min_return` is left out, and the log cannot stand in for it.
    """
    worth = estimator.of(policy)
    found = estimator.describe(worth, rules.confidence)
    required = found.log_estimate if rules.min_return is None else rules.min_return
    if required is None:
        raise UsageError(
            "validation.min_return: a number; it is never known what those who acted in the log did next, so what "
            "their actions are worth cannot be asked for in its place"
        )
    rule: Rule = "off-policy"
    passed = found.lower_bound >= required
    own = ", what the log's own actions are worth," if rules.min_return is None else ""
    reasons = [
        f"there is no simulator, so no episode was played; from {found.episodes:,} held-out episodes of the log alone "
        f"its return, discounted by {found.gamma:g}, is estimated to be {found.estimate:.4g}, and with "
        f"{100 * rules.confidence:g} % confidence at least {found.lower_bound:.4g}; {required:.4g}{own} "
        f"{'was' if passed else 'is'} required"
    ]
    comparison = None
    if isinstance(champion, Champion):
        comparison = _compare(worth, estimator.of(champion.policy), champion, rules)
    if passed and comparison:
        rule, passed = "champion", comparison.difference_lower_bound >= -comparison.margin
        reasons.append(judging.beside(comparison, passed=passed, confidence=rules.confidence))
    elif passed and isinstance(champion, Incomparable):
        rule, passed = champion.rule, False
        reasons.append(f"but {champion.reason}")
    return Verdict(
        episodes=0,
        mean_return=worth.estimate,
        mean_interval=found.interval,
        passed=passed,
        rule=rule,
        reason=f"The policy {'passed' if passed else 'did not pass'}: {'; '.join(reasons)}.",
        seed=seed,
        lower_bound=found.lower_bound,
        confidence=rules.confidence,
        min_return=required,
        champion=comparison,
        across_seeds=None,
        onnx_observations=onnx_observations,
        candidates=candidates or {str(seed): worth.estimate},
        off_policy=found,
    )


def _compare(worth: Worth, its: Worth, champion: Champion, rules: ValidationSection) -> Comparison:
    lead = worth.lead_over(its)
    return Comparison(
        episodes=0,
        mean_return=its.estimate,
        mean_interval=its.interval(rules.confidence),
        run_id=champion.run_id,
        endpoint=champion.endpoint,
        difference=lead.estimate,
        difference_interval=lead.interval(rules.confidence),
        difference_lower_bound=lead.lower_bound(rules.confidence),
        margin=rules.margin,
    )
