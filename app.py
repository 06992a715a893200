"""The composition root: settings in, stacks out."""

import gc

from config.settings import DEFAULT_STAGE, Settings, SettingsError, load_settings
from config.toolchain import use_packaged_node

use_packaged_node()  # before the first import of aws_cdk
if __name__ == "__main__":
    gc.disable()  # looking for garbage takes half a second, and all that is made here lasts to the end

import aws_cdk as cdk  # noqa: E402

from stacks.alerts import AlertsStack  # noqa: E402
from stacks.api import ApiStack  # noqa: E402
from stacks.compute import ComputeStack  # noqa: E402
from stacks.constructs.dependencies import function_code  # noqa: E402
from stacks.events import EventsStack  # noqa: E402
from stacks.governance.govern import govern, synthesise  # noqa: E402
from stacks.monitoring import MonitoringStack  # noqa: E402
from stacks.network import NetworkStack  # noqa: E402
from stacks.pipeline import PipelineStack  # noqa: E402
from stacks.runs import RunsStack  # noqa: E402
from stacks.serving import ServingStack  # noqa: E402
from stacks.storage import StorageStack  # noqa: E402


def build(app: cdk.App, settings: Settings, *, bundle: bool) -> None:
    """Put every stack of one stage into `app`; `bundle` packs the Lambda functions' dependencies, by pip."""
    code = function_code(bundle=bundle)
    storage = StorageStack(app, settings=settings, function_code=code)
    network = NetworkStack(app, settings=settings)
    runs = RunsStack(app, settings=settings)
    alerts = AlertsStack(app, settings=settings, function_code=code, run_table=runs.table)
    compute = ComputeStack(app, settings=settings, vpc=network.vpc, subnets=network.subnets)
    serving = ServingStack(
        app,
        settings=settings,
        function_code=code,
        artifacts_bucket=storage.artifacts_bucket,
        vpc=network.vpc,
        subnets=network.subnets,
    )
    pipeline = PipelineStack(
        app,
        settings=settings,
        function_code=code,
        input_bucket=storage.input_bucket,
        artifacts_bucket=storage.artifacts_bucket,
        cpu=compute.cpu,
        gpu=compute.gpu,
        model_role=serving.model_role,
        model_package_group_name=serving.model_package_group_name,
        serving_image_uri=serving.image_uri,
        services=serving.services,
        topic=alerts.topic,
        alert_function=alerts.alert_function,
        run_table=runs.table,
    )
    job_queues = [queue for pool in (compute.cpu, compute.gpu) for queue in (pool.queue, pool.spot_queue)]
    ApiStack(
        app,
        settings=settings,
        function_code=code,
        input_bucket=storage.input_bucket,
        artifacts_bucket=storage.artifacts_bucket,
        run_table=runs.table,
        state_machine=pipeline.state_machine,
        state_machine_name=pipeline.state_machine_name,
        job_log_group=pipeline.job_log_group,
        job_queues=job_queues,
        alert_function=alerts.alert_function,
        endpoints_function=pipeline.endpoints_function,
        ask_function=pipeline.ask_function,
    )
    EventsStack(
        app,
        settings=settings,
        function_code=code,
        input_bucket=storage.input_bucket,
        artifacts_bucket=storage.artifacts_bucket,
        run_table=runs.table,
        job_queues=job_queues,
        state_machine=pipeline.state_machine,
        state_machine_name=pipeline.state_machine_name,
        finish_function=pipeline.finish_function,
        model_role=serving.model_role,
        topic=alerts.topic,
        alert_function=alerts.alert_function,
        services=serving.services,
    )
    MonitoringStack(
        app,
        settings=settings,
        alert_function=alerts.alert_function,
        job_queues=job_queues,
        state_machine=pipeline.state_machine,
    )
    govern(app, judge=settings.judge)


if __name__ == "__main__":
    asked = cdk.App(auto_synth=False).node
    try:
        settings = load_settings(asked.try_get_context("stage") or DEFAULT_STAGE)
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    # The CDK's own rules take it longer to load than everything else to do.
    app = cdk.App(builtin_cloud_formation_validation=settings.judge)
    bundle = settings.functions.bundle_dependencies and app.node.try_get_context("bundling") != "off"
    build(app, settings, bundle=bundle)
    synthesise(app)
