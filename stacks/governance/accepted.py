"""Every finding of a judge that stands, and why: one row a path and rule, and nowhere else.

Paths and findings are patterns of `fnmatch`; `[*]` is a literal star. A row that no finding needs any more fails a
test, so the table shrinks with the findings.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """One accepted finding.

    Attributes:
        path: the construct's path, as in the assembly.
        rule: the rule's id: `AwsSolutions-...` of cdk-nag, `CKV_...` of checkov.
        finding: what cdk-nag adds in brackets, for rules that report each policy or resource by itself.
        type: the CloudFormation type, for checkov, which is told before it looks.
        reason: why it stands.
    """

    path: str
    rule: str
    finding: str = ""
    type: str = ""
    reason: str

    def covers(self, path: str, rule: str, finding: str = "") -> bool:
        """Whether this row accepts a finding."""
        return rule == self.rule and fnmatchcase(path, self.path) and fnmatchcase(finding, self.finding)


_FOLDER = "The wildcard stays inside one folder of one bucket, whose names are the runs'."
_NO_RESOURCES = "The star stands for actions that know no resources; a test holds it to the list AWS publishes."
_STATE_MACHINE = "rlpipe-*-pipeline/StateMachine/Role/DefaultPolicy/Resource"
_ENDPOINTS = "rlpipe-*-pipeline/EndpointsFunctionRole/DefaultPolicy/Resource"
_FUNCTION = "AWS::Lambda::Function"


def _iam5(path: str, finding: str, reason: str) -> Accepted:
    return Accepted(path=path, rule="AwsSolutions-IAM5", finding=finding, reason=reason)


ACCEPTED: tuple[Accepted, ...] = (
    Accepted(
        path="rlpipe-*-compute/InstanceRole/Resource",
        rule="AwsSolutions-IAM4",
        finding="Policy::*AmazonEC2ContainerServiceforEC2Role",
        reason="AWS keeps this policy in step with the ECS agent, which its own image brings to the instance.",
    ),
    Accepted(
        path="rlpipe-*-compute/Kubernetes/InstanceRole/Resource",
        rule="AwsSolutions-IAM4",
        finding="Policy::*Amazon*",
        reason="The three policies that EKS asks of a node; AWS keeps them in step with its own image.",
    ),
    Accepted(
        path="rlpipe-*-network/Vpc/Resource",
        rule="AwsSolutions-VPC7",
        reason="network.flow_logs is off where instances are few, short-lived and accept nothing; production has them.",
    ),
    _iam5("rlpipe-*-serving/ModelRole/DefaultPolicy/Resource", "Resource::[*]", _NO_RESOURCES),
    _iam5("rlpipe-*-serving/ModelRole/DefaultPolicy/Resource", "Resource::*/runs/[*]/model.tar.gz", _FOLDER),
    _iam5(
        "rlpipe-*-serving/ModelRole/DefaultPolicy/Resource",
        "Resource::*/captured/[*]",
        "SageMaker names what it captures, in one folder of one bucket.",
    ),
    _iam5(
        "rlpipe-*-serving/ModelRole/DefaultPolicy/Resource",
        "Resource::*:log-group:/aws/sagemaker/Endpoints/[*]",
        "SageMaker names an endpoint's log group after the endpoint, which a run file names.",
    ),
    _iam5("rlpipe-*-serving/Services/ExecutionRole/DefaultPolicy/Resource", "Resource::[*]", _NO_RESOURCES),
    _iam5("rlpipe-*-serving/Services/TaskRole/DefaultPolicy/Resource", "Resource::*/runs/[*]/model.tar.gz", _FOLDER),
    Accepted(
        path="rlpipe-*-serving/Services/BalancingRole/Resource",
        rule="AwsSolutions-IAM4",
        finding="Policy::*AmazonECSInfrastructureRolePolicyForLoadBalancers",
        reason="The policy that ECS documents for moving requests between target groups; AWS keeps it in step.",
    ),
    Accepted(
        path="rlpipe-*-pipeline/AskRole/Resource",
        rule="AwsSolutions-IAM4",
        finding="Policy::*AWSLambdaVPCAccessExecutionRole",
        reason="The policy that Lambda documents for a function in a network.",
    ),
    Accepted(
        path="rlpipe-*-serving/Services/Cluster",
        rule="AwsSolutions-ECS4",
        reason="Container Insights costs by the metric, and says nothing that the alarms of a policy need.",
    ),
    Accepted(
        path="rlpipe-*-serving/Services/Balancer/Resource",
        rule="AwsSolutions-ELB2",
        reason="Nobody but the network itself can ask; how many did and how they were answered are metrics.",
    ),
    _iam5("rlpipe-*-pipeline/Jobs/ExecutionRole/DefaultPolicy/Resource", "Resource::[*]", _NO_RESOURCES),
    _iam5("rlpipe-*-pipeline/Jobs/*Role/DefaultPolicy/Resource", "Resource::*/runs/[*]", _FOLDER),
    _iam5(
        "rlpipe-*-pipeline/Jobs/ValidateRole/DefaultPolicy/Resource",
        "Resource::*/champions/[*]",
        "One file an endpoint, in one folder of one bucket.",
    ),
    _iam5(
        "rlpipe-*-pipeline/Jobs/PrepareDataRole/DefaultPolicy/Resource",
        "Resource::*/[*]data/[*]",
        "Data lie beside a run file, in any folder of the input bucket; only what may be data is read.",
    ),
    _iam5(
        "rlpipe-*-events/DataArrivedRole/DefaultPolicy/Resource",
        "Resource::*/[*]run.yaml",
        "A run file may lie in any folder of the input bucket; only files of that name are read.",
    ),
    _iam5("rlpipe-*-pipeline/PrepareRole/DefaultPolicy/Resource", "Resource::*/runs/[*]", _FOLDER),
    _iam5(
        "rlpipe-*-pipeline/PrepareRole/DefaultPolicy/Resource",
        "Resource::*/[*]run.yaml*",
        "A run file may lie in any folder of the input bucket; only files of that name are read, and only their "
        "error notes written.",
    ),
    _iam5("rlpipe-*-pipeline/FinishRole/DefaultPolicy/Resource", "Resource::[*]", _NO_RESOURCES),
    _iam5("rlpipe-*-pipeline/FinishRole/DefaultPolicy/Resource", "Resource::*/runs/[*]", _FOLDER),
    _iam5(
        "rlpipe-*-pipeline/SmokeTestRole/DefaultPolicy/Resource", "Resource::*/runs/[*]/validation/golden.json", _FOLDER
    ),
    _iam5(
        "rlpipe-*-pipeline/SmokeTestRole/DefaultPolicy/Resource",
        "Resource::*:endpoint/[*]",
        "A run file names its endpoint.",
    ),
    _iam5(_STATE_MACHINE, "Resource::[*]", _NO_RESOURCES),
    _iam5(_STATE_MACHINE, "Resource::<*.Arn>:[*]", "The versions of one function."),
    _iam5(
        _STATE_MACHINE,
        "Resource::*:job-definition/*:[*]",
        "The revisions of one job definition: an execution submits the revision that it began with.",
    ),
    _iam5(_STATE_MACHINE, "Resource::*:job/[*]", "Batch names a job when it is submitted."),
    _iam5(_STATE_MACHINE, "Resource::*/runs/[*]/validation/verdict.json", _FOLDER),
    _iam5(_STATE_MACHINE, "Resource::*:model-package/rlpipe-*/[*]", "The versions in the stage's own group."),
    _iam5(_ENDPOINTS, "Resource::[*]", _NO_RESOURCES),
    _iam5(_ENDPOINTS, "Resource::*/runs/[*]/run.json", _FOLDER),
    _iam5(_ENDPOINTS, "Resource::*/runs/[*]/model.tar.gz", _FOLDER),
    _iam5(_ENDPOINTS, "Resource::*/runs/[*]/validation/shadow.json", _FOLDER),
    _iam5(_ENDPOINTS, "Resource::*/champions/[*]", "One file an endpoint, in one folder of one bucket."),
    _iam5(_ENDPOINTS, "Resource::*/drift/[*]", "One file an endpoint, in one folder of one bucket."),
    _iam5(_ENDPOINTS, "Resource::*/captured/[*]", "SageMaker names what it captures, in one folder of one bucket."),
    _iam5(
        _ENDPOINTS,
        "Resource::*/[*]run.yaml",
        "A run file may lie in any folder of the input bucket; only files of that name are read, or dropped anew.",
    ),
    _iam5(_ENDPOINTS, "Resource::*:endpoint/[*]", "A run file names its endpoint."),
    _iam5(_ENDPOINTS, "Resource::*:endpoint-config/[*]", "A configuration is named after its run."),
    _iam5(_ENDPOINTS, "Resource::*:model/[*]", "A model is named after its run."),
    _iam5(_ENDPOINTS, "Resource::*:service/*/[*]", "A service of the stage's own cluster is named as its endpoint."),
    _iam5(_ENDPOINTS, "Resource::*:service-deployment/*/[*]", "ECS names the deployments in the stage's own cluster."),
    _iam5(_ENDPOINTS, "Resource::*:service-revision/*/[*]", "ECS names the revisions in the stage's own cluster."),
    _iam5(_ENDPOINTS, "Resource::*:task-definition/[*]", "A task definition is named after its run."),
    _iam5(_ENDPOINTS, "Resource::*:targetgroup/rlpipe-[*]/[*]", "A target group's name is a hash of its endpoint's."),
    _iam5(_ENDPOINTS, "Resource::*:listener-rule/*/[*]", "The rules of the stage's own load balancer."),
    _iam5(_ENDPOINTS, "Resource::*:alarm:rlpipe-[*]", "An endpoint's alarms are named after it."),
    _iam5(_ENDPOINTS, "Resource::*:scalable-target/[*]", "Application Auto Scaling names what it scales itself."),
    _iam5(
        "rlpipe-*-storage/FilesTeardown/FunctionRole/DefaultPolicy/Resource",
        "Resource::<*.Arn>/[*]",
        "It empties the stage's own three buckets before they are deleted.",
    ),
    _iam5("rlpipe-*-serving/ModelsTeardown/FunctionRole/DefaultPolicy/Resource", "Resource::[*]", _NO_RESOURCES),
    _iam5(
        "rlpipe-*-serving/ModelsTeardown/FunctionRole/DefaultPolicy/Resource",
        "Resource::*:sagemaker:*/[*]",
        "It deletes what runs as this stage's model role, which only a description tells; their names are the runs'.",
    ),
    _iam5(
        "rlpipe-*-serving/ModelsTeardown/FunctionRole/DefaultPolicy/Resource",
        "Resource::*:service/*/[*]",
        "It deletes the services of the stage's own cluster.",
    ),
    _iam5(
        "rlpipe-*-serving/ModelsTeardown/FunctionRole/DefaultPolicy/Resource",
        "Resource::*:targetgroup/rlpipe-[*]/[*]",
        "It deletes the target groups of those services.",
    ),
    _iam5(
        "rlpipe-*-serving/ModelsTeardown/FunctionRole/DefaultPolicy/Resource",
        "Resource::*:listener-rule/*/[*]",
        "It deletes the rules of the stage's own load balancer.",
    ),
    _iam5("rlpipe-*-api/ControlRole/DefaultPolicy/Resource", "Resource::*/runs/[*]/training.json", _FOLDER),
    _iam5(
        "rlpipe-*-api/ControlRole/DefaultPolicy/Resource",
        "Resource::*/[*]/run.yaml",
        "An experiment is a folder of the input bucket, named by whoever submits; only run files are written.",
    ),
    _iam5(
        "rlpipe-*-api/ControlRole/DefaultPolicy/Resource",
        "Resource::*:job/[*]",
        "Batch gives a job its id when it is submitted; which job is a run's, its record says.",
    ),
    _iam5(
        "rlpipe-*-api/ControlRole/DefaultPolicy/Resource",
        "Resource::*:execution:*:[*]",
        "The executions of the stage's own state machine, each named after its run.",
    ),
    _iam5(
        "rlpipe-*-api/AskPoliciesRole/DefaultPolicy/Resource",
        "Resource::*:endpoint/[*]",
        "A run file names its endpoint; who may ask which one is decided by the callers' own permissions.",
    ),
    _iam5("rlpipe-*-events/Sweeper/FunctionRole/DefaultPolicy/Resource", "Resource::[*]", _NO_RESOURCES),
    _iam5(
        "rlpipe-*-events/Sweeper/FunctionRole/DefaultPolicy/Resource",
        "Resource::*:execution:*:[*]",
        "The executions of the stage's own state machine, each named after its run.",
    ),
    _iam5(
        "rlpipe-*-events/Sweeper/FunctionRole/DefaultPolicy/Resource",
        "Resource::*/champions/[*]",
        "One file an endpoint, in one folder of one bucket, which it only reads.",
    ),
    _iam5(
        "rlpipe-*-events/Sweeper/FunctionRole/DefaultPolicy/Resource",
        "Resource::*:sagemaker:*/[*]",
        "Which endpoints and models are this stage's only a description tells; their names are the runs'.",
    ),
    _iam5(
        "rlpipe-*-events/Sweeper/FunctionRole/DefaultPolicy/Resource",
        "Resource::*:job/[*]",
        "Batch gives a job its id when it is submitted; only jobs in the stage's own queues are looked at.",
    ),
    _iam5(
        "rlpipe-*-events/Sweeper/FunctionRole/DefaultPolicy/Resource",
        "Resource::*:service/*/[*]",
        "The services of the stage's own cluster, each named after its endpoint.",
    ),
    Accepted(
        path="rlpipe-*-api/Api/CloudWatchRole/Resource",
        rule="AwsSolutions-IAM4",
        finding="Policy::*AmazonAPIGatewayPushToCloudWatchLogs",
        reason="The one policy that API Gateway documents for its account-wide logging role.",
    ),
    Accepted(
        path="rlpipe-*-api/Api/Default/*",
        rule="AwsSolutions-COG4",
        reason="Callers are authorised by IAM, or by an API key where the settings say so; there is no user pool.",
    ),
    Accepted(
        path="rlpipe-*-api/Api/Default/*",
        rule="AwsSolutions-APIG4",
        reason="Where api.auth is api_key every method asks for a key, whose plan limits what it may ask for.",
    ),
    Accepted(
        path="rlpipe-*-api/Api/DeploymentStage.v1/Resource",
        rule="AwsSolutions-APIG3",
        reason="api.firewall is off where only IAM's callers come and AWS WAF would cost more than all else; "
        "production has it.",
    ),
    Accepted(
        path="rlpipe-*-monitoring/RuleDeadLetters/Resource",
        rule="AwsSolutions-SQS3",
        reason="It is itself where events go that rules could not deliver; this check knows functions' queues only.",
    ),
    Accepted(
        path="rlpipe-*/Image/Project/Resource",
        rule="AwsSolutions-CB4",
        reason="The project keeps no artifacts: what it makes it pushes to ECR, which encrypts it.",
    ),
    _iam5(
        "rlpipe-*/Image/Project/Role/DefaultPolicy/Resource",
        "Action::s3:*",
        "The CDK's own grant for a source in S3: reading, of one object.",
    ),
    _iam5(
        "rlpipe-*/Image/Project/Role/DefaultPolicy/Resource",
        "Resource::*:s3:::cdk-*-assets-*/[*]",
        "The assets of the CDK, which it only reads, by the CDK's own grant.",
    ),
    _iam5(
        "rlpipe-*/Image/Project/Role/DefaultPolicy/Resource",
        "Resource::*:log-group:*",
        "The streams of the project's own log.",
    ),
    _iam5("rlpipe-*/Image/Project/Role/DefaultPolicy/Resource", "Resource::[*]", _NO_RESOURCES),
    Accepted(
        path="rlpipe-*",
        type="AWS::Logs::LogGroup",
        rule="CKV_AWS_158",
        reason="Logs are encrypted with a key of CloudWatch's own. They hold metrics and run files, no secrets; a "
        "customer key costs each stage its monthly price and each reader one more grant.",
    ),
    Accepted(
        path="rlpipe-*-[!s]*",  # the functions of storage and serving have no variables
        type=_FUNCTION,
        rule="CKV_AWS_173",
        reason="The variables are names of buckets, topics and state machines, no secrets; Lambda encrypts them with "
        "its own key.",
    ),
    Accepted(
        path="rlpipe-*[!k]/Resource",  # Ask is in a VPC
        type=_FUNCTION,
        rule="CKV_AWS_117",
        reason="The functions call public AWS endpoints only; in a VPC they would need paid endpoints or a NAT.",
    ),
    Accepted(
        path="rlpipe-*",
        type=_FUNCTION,
        rule="CKV_AWS_115",
        reason="Reserved concurrency is taken from the account's pool, which is 10 in a new account; Step Functions "
        "and EventBridge retry what is throttled.",
    ),
    Accepted(
        path="rlpipe-*-pipeline/[!EF]*/Resource",
        type=_FUNCTION,
        rule="CKV_AWS_116",
        reason="Called by the state machine, which waits for the answer and catches the error; nothing is left over "
        "for a queue.",
    ),
    Accepted(
        path="rlpipe-*/*Teardown/Function/Resource",
        type=_FUNCTION,
        rule="CKV_AWS_116",
        reason="Called by CloudFormation, which waits for the answer and shows a failure.",
    ),
    Accepted(
        path="rlpipe-*-api/Api/DeploymentStage.v1/Resource",
        type="AWS::ApiGateway::Stage",
        rule="CKV_AWS_120",
        reason="A cache costs by the hour, and would answer with what a run was a minute ago.",
    ),
    Accepted(
        path="rlpipe-*-runs/Runs/Resource",
        type="AWS::DynamoDB::Table",
        rule="CKV_AWS_119",
        reason="Encrypted with a key that DynamoDB manages in this account; one of our own would cost each stage its "
        "monthly price and each reader one more grant.",
    ),
    Accepted(
        path="rlpipe-*/*DeadLetters/Resource",
        type="AWS::SQS::Queue",
        rule="CKV_AWS_27",
        reason="Encrypted by SQS itself (SqsManagedSseEnabled), which this check does not know.",
    ),
    Accepted(
        path="rlpipe-*-events/WaitingData/Resource",
        type="AWS::SQS::Queue",
        rule="CKV_AWS_27",
        reason="Encrypted by SQS itself (SqsManagedSseEnabled), which this check does not know.",
    ),
    Accepted(
        path="rlpipe-*-serving/Services/Cluster",
        type="AWS::ECS::Cluster",
        rule="CKV_AWS_65",
        reason="Container Insights costs by the metric, and says nothing that the alarms of a policy need.",
    ),
    Accepted(
        path="rlpipe-*-serving/Services/Balancer/Resource",
        type="AWS::ElasticLoadBalancingV2::LoadBalancer",
        rule="CKV_AWS_91",
        reason="Nobody but the network itself can ask; how many did and how they were answered are metrics.",
    ),
    *(
        Accepted(
            path="rlpipe-*-serving/Services/Balancer/Http/Resource",
            type="AWS::ElasticLoadBalancingV2::Listener",
            rule=rule,
            reason="Inside the network; TLS takes a certificate, and that a domain, which not everybody has.",
        )
        for rule in ("CKV_AWS_2", "CKV_AWS_103")
    ),
    Accepted(
        path="rlpipe-*-storage/AccessLogs/Resource",
        type="AWS::S3::Bucket",
        rule="CKV_AWS_18",
        reason="It is where the access logs go; logging itself it would grow for ever.",
    ),
)
