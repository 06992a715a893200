"""Every row of the table of outcomes, reached by its cause, on the deployed stacks."""

import json
from pathlib import Path

from contract.layout import RunLayout, champion_key
from contract.outcomes import ExitCode, Outcome
from tests.pipeline.faults import DIES, LIES, broken_serving
from tests.pipeline.laptop import QUICK, Laptop, until
from tests.unit.serving_image.conftest import running, start_process


def test_a_dropped_file_becomes_an_answering_policy(laptop: Laptop) -> None:
    run_id = laptop.drop("balance", QUICK)
    execution = laptop.end_of(run_id)
    assert execution["status"] == "SUCCEEDED", laptop.outcome(run_id)
    assert laptop.outcome(run_id)["outcome"] == Outcome.SUCCEEDED
    assert laptop.predict("balance", [0.0, 0.0, 0.1, 0.5]) in ({"action": 0}, {"action": 1})
    champion = laptop.json(champion_key("balance"))
    assert champion["run_id"] == run_id == laptop.serves("balance")
    layout = RunLayout(run_id=run_id)
    for key in (layout.specification, layout.verdict, layout.report, layout.golden, layout.model_archive):
        assert laptop.exists(laptop.artifacts_bucket, key), key
    assert laptop.json(layout.verdict)["passed"] is True


def test_a_passed_run_is_in_the_model_registry(laptop: Laptop) -> None:
    run_id = laptop.drop("registered", QUICK + "deploy: {target: none}")
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    groups = laptop.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    packages = [
        laptop.sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
        for group in groups
        for package in laptop.sagemaker.list_model_packages(ModelPackageGroupName=group["ModelPackageGroupName"])[
            "ModelPackageSummaryList"
        ]
    ]
    [mine] = [package for package in packages if package["CustomerMetadataProperties"]["run"].endswith(run_id)]
    assert mine["ModelApprovalStatus"] == "Approved"
    layout = RunLayout(run_id=run_id)
    files = f"s3://{laptop.artifacts_bucket}"
    assert mine["SourceUri"] == f"{files}/{layout.specification}"
    assert mine["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"] == f"{files}/{layout.verdict}"
    assert mine["MetadataProperties"]["GeneratedBy"] == laptop.execution_arn(run_id)
    source, verdict = laptop.json(layout.specification)["source"], laptop.json(layout.verdict)
    said = mine["CustomerMetadataProperties"]
    assert (said["source"], said["source_version"]) == (
        f"s3://{source['bucket']}/{source['key']}",
        source["version_id"],
    )
    assert (said["algorithm"], said["environment"]) == ("ppo", "CartPole-v1")
    assert float(said["mean_return"]) == verdict["mean_return"]
    assert "job-definition/" in said["training_job"]
    assert said["serving_image"] == mine["InferenceSpecification"]["Containers"][0]["Image"]


def test_a_target_of_none_deploys_nothing(laptop: Laptop) -> None:
    run_id = laptop.drop("undeployed", QUICK + "deploy: {target: none}")
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    assert laptop.sagemaker.list_endpoints(NameContains="undeployed")["Endpoints"] == []


def test_a_policy_that_is_only_kept_is_served_elsewhere_by_a_role_that_may_read_it(
    laptop: Laptop, tmp_path: Path
) -> None:
    layout = RunLayout(run_id=laptop.drop("elsewhere", QUICK + "deploy: {target: none}"))
    assert laptop.end_of(layout.run_id)["status"] == "SUCCEEDED"
    iam, name = laptop.client("iam"), "reads-a-model"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    model = f"arn:aws:s3:::{laptop.artifacts_bucket}/{layout.model_archive}"
    may = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": model}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="model", PolicyDocument=json.dumps({"Statement": [may]}))
    keys = laptop.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="task")["Credentials"]
    container = {
        "RLPIPE_MODEL_URI": f"s3://{laptop.artifacts_bucket}/{layout.model_archive}",
        "AWS_ENDPOINT_URL": laptop.endpoint_url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }
    golden = laptop.json(layout.golden)
    with running(tmp_path, **container) as server:
        assert server.invoke({"observations": golden["observations"]}).document == {"actions": golden["actions"]}
    iam.delete_role_policy(RoleName=name, PolicyName="model")
    process = start_process(tmp_path, **container)
    assert "S3 answers 403 AccessDenied" in process.communicate(timeout=60)[0]
    assert process.returncode == ExitCode.FAILED


def test_a_second_run_takes_over_the_endpoint(laptop: Laptop) -> None:
    first = laptop.drop("succession", QUICK)
    assert laptop.end_of(first)["status"] == "SUCCEEDED"
    second = laptop.drop("succession", QUICK + "seeds: [1]")
    assert laptop.end_of(second)["status"] == "SUCCEEDED"
    assert laptop.serves("succession") == second
    assert laptop.json(champion_key("succession"))["before"] == first


def test_only_a_policy_that_is_not_worse_takes_over_from_the_champion(laptop: Laptop) -> None:
    compared = QUICK.replace("compare_to_champion: false", "compare_to_champion: true")
    good = compared.replace("timesteps: 2048", "timesteps: 40000")
    champion = laptop.drop("defended", good)
    assert laptop.end_of(champion)["status"] == "SUCCEEDED"
    assert laptop.json(RunLayout(run_id=champion).verdict)["champion"] is None
    worse = laptop.drop("defended", compared)
    execution = laptop.end_of(worse)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.REJECTED)
    assert (
        f"not shown to be as good as what serves: on the same episodes the champion of defended ({champion})"
        in (execution["cause"])
    )
    assert laptop.json(RunLayout(run_id=worse).verdict)["rule"] == "champion"
    assert laptop.serves("defended") == champion
    same = laptop.drop("defended", good)
    assert laptop.end_of(same)["status"] == "SUCCEEDED"
    assert laptop.json(RunLayout(run_id=same).verdict)["champion"]["difference"] == 0
    assert laptop.serves("defended") == same
    episodes = laptop.json(RunLayout(run_id=same).episodes)["judging"]["policies"]
    assert episodes["0"]["returns"] == episodes["champion"]["returns"]


def test_a_policy_with_a_memory_serves_and_its_state_goes_back_and_forth(laptop: Laptop) -> None:
    small = "{n_envs: 2, n_steps: 64, batch_size: 64, n_epochs: 1, lstm_hidden_size: 8, net_arch: [8]}"
    document = QUICK.replace("2048", "512") + f"algorithm: {{name: recurrent-ppo, hyperparameters: {small}}}\n"
    run_id = laptop.drop("remembering", document)
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED", laptop.outcome(run_id)
    first = laptop.ask("remembering", {"observation": [0.0, 0.0, 0.1, 0.5]})
    again = laptop.ask("remembering", {"observation": [0.0, 0.0, 0.1, 0.5], "state": first["state"]})
    assert again["state"] != first["state"]


def test_a_policy_that_is_told_the_valid_actions_serves_and_takes_one(laptop: Laptop) -> None:
    small = "{n_envs: 2, n_steps: 64, batch_size: 64, n_epochs: 1, net_arch: [8]}"
    document = (
        QUICK.replace("CartPole-v1", "Taxi-v4").replace("2048", "256").replace("min_return: 5", "min_return: -999")
    )
    run_id = laptop.drop("told", document + f"algorithm: {{name: maskable-ppo, hyperparameters: {small}}}\n")
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED", laptop.outcome(run_id)
    for only in range(6):
        mask = [choice == only for choice in range(6)]
        assert laptop.ask("told", {"observation": 100, "action_mask": mask}) == {"action": only}


def test_several_seeds_train_and_the_best_is_chosen(laptop: Laptop) -> None:
    run_id = laptop.drop("seeds", QUICK + "seeds: [3, 5]\ndeploy: {target: none}")
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    verdict = laptop.json(RunLayout(run_id=run_id).verdict)
    assert set(verdict["candidates"]) == {"3", "5"}
    assert str(verdict["seed"]) in verdict["candidates"]
    assert {job["jobName"] for job in laptop.jobs_of(run_id)} == {
        f"{run_id}-seed-3",
        f"{run_id}-seed-5",
        f"{run_id}-validate",
    }


def test_a_policy_that_is_not_good_enough_is_rejected_and_kept(laptop: Laptop) -> None:
    run_id = laptop.drop("rejected", QUICK.replace("min_return: 5", "min_return: 499"))
    execution = laptop.end_of(run_id)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.REJECTED)
    assert "499" in execution["cause"]
    assert laptop.exists(laptop.artifacts_bucket, RunLayout(run_id=run_id).model_archive)
    assert laptop.sagemaker.list_endpoints(NameContains="rejected")["Endpoints"] == []


def test_an_invalid_file_is_refused_beside_itself(laptop: Laptop) -> None:
    run_id = laptop.drop("invalid", "environment: {id: CartPole-v1}\ntimesteps: soon\n")
    execution = laptop.end_of(run_id)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.INVALID)
    reasons = laptop.s3.get_object(Bucket=laptop.input_bucket, Key="invalid/run.yaml.error.txt")["Body"].read()
    assert b"timesteps: a whole number (given: 'soon')" in reasons
    assert laptop.exists(laptop.input_bucket, "invalid/run.yaml")
    assert laptop.jobs_of(run_id) == []


def test_a_trainer_that_crashes_ends_the_run_with_its_reason_and_its_last_lines(laptop: Laptop) -> None:
    """The catalogue knows the names of constructor arguments, not their values: this one exists nowhere."""
    run_id = laptop.drop(
        "crash", "environment: {id: FrozenLake-v1, kwargs: {map_name: 9x9}}\ntimesteps: 1000\ncompute: {spot: false}\n"
    )
    execution = laptop.end_of(run_id)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.FAILED)
    outcome = laptop.outcome(run_id)
    assert "9x9" in outcome["reason"]
    assert outcome["log_tail"]
    job = laptop.jobs_of(run_id)[0]
    attempts = laptop.batch.describe_jobs(jobs=[job["jobId"]])["jobs"][0]["attempts"]
    assert len(attempts) == 1, "a crash is not retried"


def test_a_limit_ends_the_run_by_its_name_after_a_checkpoint(laptop: Laptop) -> None:
    run_id = laptop.drop(
        "limit",
        "environment: {id: CartPole-v1}\ntimesteps: 100000000\n"
        "checkpoint: {every_seconds: 1}\nlimits: {max_hours: 0.001}\n",
    )
    execution = laptop.end_of(run_id)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.LIMIT)
    checkpoints = laptop.s3.list_objects_v2(
        Bucket=laptop.artifacts_bucket, Prefix=f"{RunLayout(run_id=run_id).seed(0)}/checkpoints/"
    )["Contents"]
    assert any(item["Key"].endswith("manifest.json") for item in checkpoints)


def test_stopping_the_execution_stops_the_training_and_is_recorded(laptop: Laptop) -> None:
    run_id = laptop.drop("stopped", "environment: {id: CartPole-v1}\ntimesteps: 100000000\n")

    def running() -> bool:
        return any(job["status"] == "RUNNING" for job in laptop.jobs_of(run_id))

    until(running, seconds=60, what="training runs")
    laptop.states.stop_execution(executionArn=laptop.execution_arn(run_id), error="Stopped", cause="enough")
    assert laptop.end_of(run_id)["status"] == "ABORTED"

    def over() -> bool:
        return all(job["status"] == "FAILED" for job in laptop.jobs_of(run_id))

    until(over, seconds=45, what="the job is terminated")
    until(
        lambda: laptop.exists(laptop.artifacts_bucket, RunLayout(run_id=run_id).outcome),
        seconds=30,
        what="the end is recorded",
    )
    assert laptop.outcome(run_id)["outcome"] == Outcome.STOPPED


def test_a_first_deployment_that_cannot_start_fails_and_the_next_one_succeeds(laptop: Laptop) -> None:
    with broken_serving(laptop, DIES):
        first = laptop.drop("recovers", QUICK)
        execution = laptop.end_of(first)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.FAILED)
    assert "endpoint is Failed" in execution["cause"]
    second = laptop.drop("recovers", QUICK + "seeds: [1]")
    assert laptop.end_of(second)["status"] == "SUCCEEDED"
    assert laptop.serves("recovers") == second


def test_a_first_deployment_that_answers_wrongly_does_not_stay(laptop: Laptop) -> None:
    with broken_serving(laptop, LIES):
        run_id = laptop.drop("wrong", QUICK)
        execution = laptop.end_of(run_id)
    assert (execution["status"], execution["error"]) == ("FAILED", Outcome.FAILED)
    assert "the endpoint was deleted" in execution["cause"]
    until(
        lambda: not laptop.sagemaker.list_endpoints(NameContains="wrong")["Endpoints"],
        seconds=10,
        what="the endpoint is gone",
    )


def test_the_example_of_the_readme_is_a_valid_run(laptop: Laptop) -> None:
    """Whether it reaches its goal is what `make run` shows; here only that prepare takes it."""
    example = Path(__file__).parents[2] / "examples" / "cartpole" / "run.yaml"
    run_id = laptop.drop("example", example.read_bytes())
    until(
        lambda: laptop.exists(laptop.artifacts_bucket, RunLayout(run_id=run_id).specification),
        seconds=30,
        what="run.json is written",
    )
    laptop.states.stop_execution(executionArn=laptop.execution_arn(run_id))
