from tests.infra.conftest import Stage


def test_nothing_is_reachable_from_outside(stage: Stage) -> None:
    groups = stage.resources("AWS::EC2::SecurityGroup")
    assert groups
    inwards = [rule for group in groups.values() for rule in group.get("SecurityGroupIngress", [])]
    between = list(stage.resources("AWS::EC2::SecurityGroupIngress").values())
    if stage.settings.serving.ecs is None:
        assert inwards == between == []
    # The load balancer of services on ECS is asked from the network itself, and asks tasks.
    assert all(rule["CidrIp"] == "10.40.0.0/16" for rule in inwards)
    assert all("SourceSecurityGroupId" in rule and "CidrIp" not in rule for rule in between)


def test_instances_speak_https_only(stage: Stage) -> None:
    [egress] = stage.one("AWS::EC2::SecurityGroup", "Instances")["SecurityGroupEgress"]
    assert (egress["IpProtocol"], egress["FromPort"], egress["ToPort"]) == ("tcp", 443, 443)


def test_an_idle_development_network_costs_nothing(stages: dict[str, Stage]) -> None:
    for name in ("local", "dev"):
        assert stages[name].resources("AWS::EC2::NatGateway") == {}
        assert stages[name].resources("AWS::EC2::EIP") == {}


def test_production_instances_have_no_public_address_and_survive_the_loss_of_a_zone(stages: dict[str, Stage]) -> None:
    prod = stages["prod"]
    assert len(prod.resources("AWS::EC2::NatGateway")) == 2
    subnets = prod.resources("AWS::EC2::Subnet")
    used = {
        reference["Fn::GetStackOutput"]["OutputName"]
        for environment in prod.resources("AWS::Batch::ComputeEnvironment").values()
        for reference in environment["ComputeResources"]["Subnets"]
    }
    outputs = prod.templates["network"]["Outputs"]
    jobs = {outputs[name]["Value"]["Ref"] for name in used}
    assert len(jobs) == 2
    assert not any(subnets[name].get("MapPublicIpOnLaunch") for name in jobs)


def test_subnets_lie_in_different_zones_without_a_look_up(stage: Stage) -> None:
    zones = [str(s["AvailabilityZone"]) for s in stage.resources("AWS::EC2::Subnet").values()]
    assert len(set(zones)) == stage.settings.network.availability_zones
    assert all("Fn::GetAZs" in zone for zone in zones)


def test_s3_is_reached_without_paying_for_traffic(stage: Stage) -> None:
    endpoint = stage.one("AWS::EC2::VPCEndpoint")
    assert endpoint["VpcEndpointType"] == "Gateway"
    assert ".s3" in str(endpoint["ServiceName"])
