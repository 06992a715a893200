"""The alarms: what each watches, means, and asks for.

Stacks, messages and docs/reference/monitoring.md are made of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from contract import metrics
from contract.metrics import Metric


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One alarm.

    Attributes:
        name: the last word of what it is called: `rlpipe-<stage>-<name>`.
        title: what is wrong, in a few words.
        meaning: what happened, for somebody who was woken by it.
        why: what it costs not to know.
        advice: what to do.
        commands: what to type; `{run}`, `{queue}` and `{endpoint}` stand for what it is about.
        metric: what is watched.
        statistic: of all seeds of a run, or of all that a stage did, in a minute.
        tells: False where the run's own message, which gives the reason, has told already.
        without_data: whether it rings when there are no data any more. One that has never had any, as of a new
            endpoint, stays quiet.
    """

    name: str
    title: str
    meaning: str
    why: str
    advice: str
    commands: tuple[str, ...]
    metric: Metric | None = None
    statistic: str = "MAX"
    tells: bool = True
    without_data: bool = False

    def commands_for(self, values: Mapping[str, str]) -> list[str]:
        """The commands about something; those that name what is not known are left out."""
        known = {f"{{{name}}}": value for name, value in values.items()}
        unknown = [name for name in ("{run}", "{queue}", "{endpoint}") if name not in known]
        commands = [command for command in self.commands if not any(name in command for name in unknown)]
        for name, value in known.items():
            commands = [command.replace(name, value) for command in commands]
        return commands


OF_RUNS: tuple[Alarm, ...] = (
    Alarm(
        name="LossNotFinite",
        title="the loss is no number any more",
        meaning="A loss or a weight became NaN or infinite, so the training has ended itself.",
        why="The weights are worthless from then on, and every further step is paid for.",
        advice="Lower `learning_rate` or `max_grad_norm`, or set `normalize: true`; look whether the environment gives "
        "rewards or observations that are no numbers. The checkpoints before it are kept.",
        commands=("rlpipe logs {run}", "rlpipe show {run}"),
        metric=metrics.LOSS_NOT_FINITE,
        statistic="SUM",
    ),
    Alarm(
        name="EntropyCollapse",
        title="the policy hardly explores any more",
        meaning="Its entropy is below a twentieth of what it began with, and its return is below what validation asks "
        "for.",
        why="A policy that tries nothing new stays as it is: the rest of the training is paid for and changes nothing.",
        advice="Raise `ent_coef`, lower `learning_rate`, or take more environments (`n_envs`); then submit again. "
        "Stopping keeps the checkpoints.",
        commands=("rlpipe show {run}", "rlpipe stop {run}"),
        metric=metrics.ENTROPY_COLLAPSE,
    ),
    Alarm(
        name="ReturnDrop",
        title="the return has fallen from its best",
        meaning="The mean return of the last 100 episodes has lost a large part of what was learnt.",
        why="Some algorithms do not come back from it, and what would be validated is the fallen policy.",
        advice="Lower `learning_rate`, `n_epochs` or `clip_range`, or let the learning rate end at 0 (`lin_...`). If "
        "it was a dip, it ends by itself; pausing costs nothing.",
        commands=("rlpipe show {run}", "rlpipe pause {run}", "rlpipe stop {run}"),
        metric=metrics.RETURN_DROP,
    ),
    Alarm(
        name="CheckpointOverdue",
        title="there was no checkpoint for too long",
        meaning="The newest checkpoint is much older than `checkpoint.every_seconds` says.",
        why="If the instance were reclaimed without a warning, all work since then would be done and paid for twice.",
        advice="Checkpoints are taken where segments of four episodes of full length begin: very long episodes delay "
        "them, fewer `n_envs` shorten them. If the log shows errors of S3, the job may not write to the bucket.",
        commands=("rlpipe logs {run}", "rlpipe pause {run}"),
        metric=metrics.CHECKPOINT_OVERDUE,
    ),
    Alarm(
        name="NoProgress",
        title="the training takes no steps",
        meaning="Not one environment step was taken for minutes, though the job runs.",
        why="The instance bills while nothing is learnt. After `limits.stuck_minutes` the run ends itself.",
        advice="The environment waits for something, or one step takes very long: its log has the last words.",
        commands=("rlpipe logs {run}", "rlpipe stop {run}"),
        metric=metrics.WITHOUT_STEP,
    ),
    Alarm(
        name="BudgetUsed",
        title="the cost limit is nearly reached",
        meaning="Most of the run file's `limits.max_cost_usd` is spent.",
        why="At the limit the run checkpoints and ends as LIMIT, before it is validated.",
        advice="If it learns well, submit again with a higher limit; if it does not, stop it now.",
        commands=("rlpipe show {run}", "rlpipe stop {run}"),
        metric=metrics.BUDGET_USED,
    ),
)
"""Each watches every run of a stage by itself, however many there are."""

OF_A_STAGE: tuple[Alarm, ...] = (
    Alarm(
        name="RunFailed",
        title="a run failed",
        meaning="A run ended as FAILED: something broke. Its own message has the reason.",
        why="Nothing was deployed, and what it cost is spent.",
        advice="Read the reason and the last log lines.",
        commands=("rlpipe show {run}", "rlpipe logs {run}"),
        metric=metrics.RUNS_ENDED,
        statistic="SUM",
        tells=False,
    ),
    Alarm(
        name="RunTimedOut",
        title="a run took longer than it may",
        meaning="An execution reached the state machine's time limit of 14 days. The run's own message tells of it.",
        why="It was most likely paused or waited for an approval, and nobody came.",
        advice="Submit it again; checkpoints are kept as long as the settings say.",
        commands=("rlpipe show {run}",),
        tells=False,
    ),
    Alarm(
        name="JobFailed",
        title="a job failed",
        meaning="A Batch job failed by itself: it was not paused or stopped, and reached no limit.",
        why="If other seeds of its run train on, nobody else says so.",
        advice="Its log has the last words. One trained seed is enough for validation.",
        commands=("rlpipe logs {run}", "rlpipe show {run}"),
        metric=metrics.JOBS_FAILED,
        statistic="SUM",
    ),
    Alarm(
        name="QueueBlocked",
        title="a queue is blocked",
        meaning="The job at the head of a queue cannot start, and holds back all others.",
        why="Nothing bills, but nothing happens either, until the job is cancelled by `compute.capacity_wait_hours`.",
        advice="See the cause.",
        commands=("rlpipe doctor", "rlpipe stop {run}"),
        metric=metrics.QUEUES_BLOCKED,
        statistic="SUM",
    ),
    Alarm(
        name="DeadLetters",
        title="an event could not be handled",
        meaning="A function failed on an event, again and again, and the event was kept in a queue.",
        why="A dropped file may have started no run, or the end of a run was not recorded.",
        advice="Read the message in the queue and the function's log, mend the cause, then send the message to its "
        "function again.",
        commands=(
            "aws sqs receive-message --queue-url $(aws sqs get-queue-url --queue-name {queue} --output text)",
            "rlpipe doctor",
        ),
    ),
)
"""Each watches a stage as a whole."""

OF_ENDPOINTS: tuple[Alarm, ...] = (
    Alarm(
        name="errors",
        title="requests to a policy fail",
        meaning="More requests to the endpoint fail than the run file's `deploy.max_error_percent` allows.",
        why="Whoever asks the policy gets no action. An update that is under way goes back by itself.",
        advice="Read the endpoint's log (of one on ECS it is in the log group of the serving stack); put the policy "
        "before it back if the new one is the cause.",
        commands=("rlpipe endpoints list", "aws logs tail /aws/sagemaker/Endpoints/{endpoint}"),
    ),
    Alarm(
        name="latency",
        title="a policy answers slowly",
        meaning="One request in ten takes longer than the run file's `deploy.max_latency_ms`.",
        why="Whoever asks the policy waits. An update that is under way goes back by itself.",
        advice="More instances (`serving.instances`) or a larger type, on ECS more tasks (`serving.ecs`); or a smaller "
        "network.",
        commands=("rlpipe endpoints list", "aws logs tail /aws/sagemaker/Endpoints/{endpoint}"),
    ),
    Alarm(
        name="idle",
        title="nobody asks a policy",
        meaning="An endpoint had no request for a day.",
        why="It is paid for by the hour, whether anybody asks it or not.",
        advice="Switch it off; switching it on again takes minutes and needs no training.",
        commands=("rlpipe endpoints off {endpoint}", "rlpipe endpoints delete {endpoint}"),
        without_data=True,
    ),
    Alarm(
        name="drift",
        title="a policy is asked something else than it was validated on",
        meaning="The observations that callers send differ from those of validation by more than the run file's "
        "`deploy.drift.max_index`.",
        why="What validation said of the policy does not hold for them.",
        advice="The elements that moved are among the artifacts, under `drift/`. If the callers are right, "
        "train anew on what they see; if they are wrong, mend the caller.",
        commands=("rlpipe endpoints list", "rlpipe endpoints off {endpoint}"),
        metric=metrics.CAPTURED_DRIFT,
    ),
)
"""Each watches one endpoint; the pipeline makes them with it, as `rlpipe-<endpoint>-<name>`."""

ALARMS = (*OF_RUNS, *OF_A_STAGE, *OF_ENDPOINTS)

CAUSES_OF_A_BLOCKED_QUEUE = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": (
        "AWS has no instance of the types that the stage allows, or the account's quota for them is used up.",
        "Wait, or add instance types to `compute` in the stage's file, or ask for a higher quota (`rlpipe doctor` "
        "shows yours). After `compute.capacity_wait_hours` the job is cancelled.",
    ),
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": (
        "The job needs more vCPUs than its compute environments may have at all (`max_vcpus`).",
        "Raise `max_vcpus` of the pool in the stage's file, or lower `vcpus` of the job, and deploy again. The job is "
        "cancelled after 10 minutes.",
    ),
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": (
        "No instance type of its compute environments has the vCPUs, memory or GPUs that the job needs.",
        "Lower `memory_mib` or `vcpus` of the job in the stage's file (an instance's agent takes a part of its memory) "
        "or add a larger instance type, and deploy again. The job is cancelled after 10 minutes.",
    ),
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": (
        "AWS Batch may not start instances: its service role lacks permissions.",
        "Look whether the service-linked role `AWSServiceRoleForBatch` is there, and whether a policy of the "
        "organisation denies it anything.",
    ),
}
"""By the code that `statusReason` begins with: what it means, and what to do.

https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html
"""

UNKNOWN_CAUSE = (
    "AWS Batch does not say why in a word that is known here.",
    "Read the status reason; `rlpipe doctor` checks quotas, roles and images.",
)


def alarm_name(stage: str, alarm: Alarm, place: str = "") -> str:
    """What the alarm of a stage is called; `place` tells several of a kind apart."""
    return "-".join(("rlpipe", stage, *([place] if place else []), alarm.name))


def alarm_of(name: str) -> Alarm | None:
    """The alarm that is called so; None for one that is not of this table."""
    return next((alarm for alarm in ALARMS if name.startswith("rlpipe-") and name.endswith(f"-{alarm.name}")), None)
