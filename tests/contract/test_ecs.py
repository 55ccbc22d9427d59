"""Amazon ECS: task definitions as Fargate takes them, tasks that run, services that keep them running."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Cloud, Running
from tests.contract.containers import Containers
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import Stacks, template
from tests.contract.test_functions import advance
from tests.contract.test_scheduler import trust
from tests.roles import make_role

SINGLE = {"minimumHealthyPercent": 0, "maximumPercent": 100}


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture(scope="module")
def containers(account: Account) -> Iterator[Containers]:
    found = Containers(account)
    yield found
    found.close()


def hangs(containers: Containers, arn: str) -> None:
    """Wait until the program of a task hangs."""
    until(lambda: "hanging" in containers.lines(arn), f"{arn} hangs")


def test_a_task_runs_its_program_to_the_end(containers: Containers) -> None:
    arn = containers.register(
        "print hello", "env MINE", "env AWS_EXECUTION_ENV", "exit 3", environment=[{"name": "MINE", "value": "1"}]
    )
    task = containers.run(arn, launchType="FARGATE", startedBy="somebody", tags=[{"key": "a", "value": "b"}])
    assert (task["lastStatus"], task["desiredStatus"], task["group"]) == (
        "PROVISIONING",
        "RUNNING",
        f"family:{arn.rpartition('/')[2].partition(':')[0]}",
    )
    ended = containers.reached(task["taskArn"], "STOPPED")
    assert ended["stopCode"] == "EssentialContainerExited"
    assert ended["stoppedReason"] == "Essential container in task exited"
    assert ended["launchType"] == "FARGATE"
    assert ended["startedBy"] == "somebody"
    assert ended["createdAt"] <= ended["startedAt"] <= ended["stoppedAt"]
    (container,) = ended["containers"]
    assert (container["exitCode"], container["lastStatus"]) == (3, "STOPPED")
    assert container["imageDigest"].startswith("sha256:")
    assert containers.lines(task["taskArn"]) == ["hello", "MINE=1", "AWS_EXECUTION_ENV=AWS_ECS_FARGATE"]
    tags = containers.client.list_tags_for_resource(resourceArn=task["taskArn"])["tags"]
    assert tags == [{"key": "a", "value": "b"}]


def test_a_run_has_overrides_of_its_own(containers: Containers) -> None:
    arn = containers.register("print defined", environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    override = {"name": "main", "command": ["env A", "env B"], "environment": [{"name": "B", "value": "3"}]}
    task = containers.run(arn, overrides={"containerOverrides": [override]})
    containers.reached(task["taskArn"], "STOPPED")
    assert containers.lines(task["taskArn"]) == ["A=1", "B=3"]
    assert containers.task(task["taskArn"])["overrides"]["containerOverrides"] == [override]
    code, message = error_of(
        containers.client.run_task,
        cluster=containers.cluster,
        taskDefinition=arn,
        networkConfiguration=containers.network,
        overrides={"containerOverrides": [{"name": "other"}]},
    )
    assert (code, "other" in message) == ("InvalidParameterException", True)


def test_containers_of_a_task_share_its_volumes(containers: Containers) -> None:
    mounted = {"mountPoints": [{"sourceVolume": "spool", "containerPath": "/var/spool/tests"}]}
    reader = containers.container("hang", name="reader", essential=False, **mounted)
    writer = containers.container(
        "write /var/spool/tests/a/b.txt hello", "list /var/spool/tests", "show /var/spool/tests/a/b.txt", **mounted
    )
    params = containers.definition(reader, writer, volumes=[{"name": "spool"}])
    arn = containers.client.register_task_definition(**params)["taskDefinition"]["taskDefinitionArn"]
    task = containers.run(arn)
    ended = containers.reached(task["taskArn"], "STOPPED")
    assert containers.lines(task["taskArn"]) == ["a/b.txt", "hello"]
    codes = {container["name"]: container.get("exitCode") for container in ended["containers"]}
    # The other one, which is not essential, ends with the task.
    assert codes == {"reader": 128 + signal.SIGTERM, "main": 0}


def test_a_task_is_stopped_politely_and_then_killed(containers: Containers) -> None:
    arn = containers.register("save saved.txt", "hang", stopTimeout=30)
    polite = containers.run(arn)["taskArn"]
    stubborn = containers.run(containers.register("stubborn", stopTimeout=0))["taskArn"]
    for task in (polite, stubborn):
        hangs(containers, task)
        stopping = containers.client.stop_task(cluster=containers.cluster, task=task, reason="enough")["task"]
        assert stopping["desiredStatus"] == "STOPPED"
    for task, code in ((stubborn, 128 + signal.SIGKILL), (polite, 0)):
        ended = containers.reached(task, "STOPPED")
        assert (ended["stopCode"], ended["stoppedReason"]) == ("UserInitiated", "enough")
        assert ended["containers"][0]["exitCode"] == code
    stopped = containers.client.list_tasks(cluster=containers.cluster, desiredStatus="STOPPED")["taskArns"]
    assert {polite, stubborn} <= set(stopped)


def test_what_cannot_start_says_why(containers: Containers) -> None:
    missing = containers.account.image.rpartition(":")[0] + ":not-there"
    options = {"awslogs-group": "/not/there", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "x"}
    for members, said in (
        ({"image": missing}, "CannotPullContainerError"),
        ({"entryPoint": ["no-such-program"]}, "no-such-program"),
        ({"logConfiguration": {"logDriver": "awslogs", "options": options}}, "ResourceInitializationError"),
    ):
        task = containers.run(containers.register("print hello", **members))
        ended = containers.reached(task["taskArn"], "STOPPED")
        assert ended["stopCode"] == "TaskFailedToStart"
        assert said in ended["stoppedReason"]
        assert "startedAt" not in ended


def test_without_a_task_role_there_are_no_credentials(containers: Containers) -> None:
    params = containers.definition(containers.container("env AWS_ACCESS_KEY_ID"))
    params.pop("taskRoleArn")
    arn = containers.client.register_task_definition(**params)["taskDefinition"]["taskDefinitionArn"]
    task = containers.run(arn)["taskArn"]
    containers.reached(task, "STOPPED")
    assert containers.lines(task) == ["AWS_ACCESS_KEY_ID=None"]


def test_task_definitions_have_revisions(containers: Containers) -> None:
    client = containers.client
    params = containers.definition(containers.container("print 1"), tags=[{"key": "a", "value": "b"}])
    first = client.register_task_definition(**params)["taskDefinition"]
    second = client.register_task_definition(**params)["taskDefinition"]
    assert (first["revision"], second["revision"]) == (1, 2)
    assert first["containerDefinitions"][0]["essential"] is True
    described = client.describe_task_definition(taskDefinition=params["family"], include=["TAGS"])
    assert described["taskDefinition"]["taskDefinitionArn"] == second["taskDefinitionArn"]
    assert described["tags"] == [{"key": "a", "value": "b"}]
    client.deregister_task_definition(taskDefinition=f"{params['family']}:2")
    found = client.list_task_definitions(familyPrefix=params["family"])["taskDefinitionArns"]
    assert found == [first["taskDefinitionArn"]]
    found = client.describe_task_definition(taskDefinition=second["taskDefinitionArn"])["taskDefinition"]
    assert found["status"] == "INACTIVE"
    assert error_of(client.describe_task_definition, taskDefinition="not-there")[0] == "ClientException"


def test_a_service_replaces_what_ends(containers: Containers) -> None:
    tags = [{"key": "team", "value": "x"}]
    definition = containers.register("hang")
    name = containers.serve(definition, deploymentConfiguration=SINGLE, propagateTags="SERVICE", tags=tags)
    service = containers.steady(name)
    assert service["capacityProviderStrategy"][0]["capacityProvider"] == "FARGATE"
    (first,) = containers.tasks_of(name)
    task = containers.client.describe_tasks(cluster=containers.cluster, tasks=[first], include=["TAGS"])["tasks"][0]
    assert task["tags"] == tags
    assert task["capacityProviderName"] == "FARGATE"
    containers.client.stop_task(cluster=containers.cluster, task=first)

    def other() -> str | None:
        found = [arn for arn in containers.tasks_of(name) if arn != first]
        return found[0] if found else None

    second = until(other, "another task runs")
    containers.reached(second, "RUNNING")
    containers.reached(first, "STOPPED")
    messages = [event["message"] for event in containers.service(name)["events"]]
    assert any("has reached a steady state" in message for message in messages)
    assert any("has started 1 tasks" in message for message in messages)


def test_a_service_is_scaled_updated_and_deleted(containers: Containers) -> None:
    client, cluster = containers.client, containers.cluster
    first, second = containers.register("hang"), containers.register("print new", "hang")
    name = containers.serve(first, deploymentConfiguration=SINGLE)
    containers.steady(name)
    client.update_service(cluster=cluster, service=name, taskDefinition=second)
    service = containers.steady(name)
    assert service["taskDefinition"] == second
    (arn,) = containers.tasks_of(name)
    assert containers.task(arn)["taskDefinitionArn"] == second
    client.update_service(cluster=cluster, service=name, desiredCount=0)
    until(lambda: not containers.tasks_of(name), "nothing runs")
    assert containers.reached(arn, "STOPPED")["stopCode"] == "ServiceSchedulerInitiated"
    client.update_service(cluster=cluster, service=name, desiredCount=1)
    containers.steady(name)
    code, message = error_of(client.delete_service, cluster=cluster, service=name)
    assert (code, "scaled above 0" in message) == ("InvalidParameterException", True)
    client.delete_service(cluster=cluster, service=name, force=True)
    until(lambda: containers.service(name)["status"] == "INACTIVE", "the service is deleted")
    assert error_of(client.update_service, cluster=cluster, service=name)[0] == "ServiceNotActiveException"
    assert name not in str(client.list_services(cluster=cluster)["serviceArns"])


def test_a_deployment_that_fails_is_rolled_back(containers: Containers) -> None:
    good, bad = containers.register("hang"), containers.register("exit 1")
    breaker = {**SINGLE, "deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    name = containers.serve(good, deploymentConfiguration=breaker)
    containers.steady(name)
    containers.client.update_service(cluster=containers.cluster, service=name, taskDefinition=bad)

    def rolled_back() -> bool:
        service = containers.service(name)
        return bool(service["taskDefinition"] == good and service["runningCount"] == 1)

    until(rolled_back, "the service is as it was before")
    messages = [event["message"] for event in containers.steady(name)["events"]]
    assert any("deployment failed" in message for message in messages)


def test_a_container_is_asked_how_it_is(containers: Containers) -> None:
    # The image's file is there from the start, the other one never is.
    well = {"command": ["CMD-SHELL", "command -v act || exit 1"], "interval": 5}
    name = containers.serve(containers.register("hang", healthCheck=well), deploymentConfiguration=SINGLE)
    containers.steady(name)
    (arn,) = containers.tasks_of(name)
    task = containers.task(arn)
    assert (task["healthStatus"], task["containers"][0]["healthStatus"]) == ("HEALTHY", "HEALTHY")


def test_requests_that_cannot_be_are_refused(containers: Containers) -> None:
    client, container = containers.client, containers.container("print 1")
    for members, said in (
        ({"cpu": "256", "memory": "4096"}, "No Fargate configuration exists"),
        ({"networkMode": "bridge"}, "awsvpc"),
        ({"requiresCompatibilities": ["EC2"]}, "Fargate"),
        ({"containerDefinitions": [{**container, "secrets": [{"name": "a", "valueFrom": "b"}]}]}, "secrets"),
        ({"containerDefinitions": [{**container, "mountPoints": [{"sourceVolume": "x", "containerPath": "/x"}]}]}, "x"),
        ({"volumes": [{"name": "x", "host": {"sourcePath": "/etc"}}]}, "sourcePath"),
        ({"pidMode": "task"}, "pidMode"),
    ):
        code, message = error_of(client.register_task_definition, **{**containers.definition(container), **members})
        assert code in ("ClientException", "InvalidParameterException")
        assert said in message
    run = {"cluster": containers.cluster, "taskDefinition": containers.register("print 1")}
    assert "Network Configuration" in error_of(client.run_task, **run)[1]
    nowhere = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
    assert "subnet-0123456789abcdef0" in error_of(client.run_task, **run, networkConfiguration=nowhere)[1]
    network = containers.network
    assert "EC2" in error_of(client.run_task, **run, networkConfiguration=network, launchType="EC2")[1]
    assert error_of(client.run_task, **{**run, "cluster": "not-there"})[0] == "ClusterNotFoundException"
    assert error_of(client.update_service, cluster=containers.cluster, service="x")[0] == "ServiceNotFoundException"
    failures = client.describe_tasks(cluster=containers.cluster, tasks=["not-there"])["failures"]
    assert failures[0]["reason"] == "MISSING"


def test_a_schedule_runs_a_task_that_time_waits_for(
    containers: Containers, cloud: Cloud, localcloud_only: None
) -> None:
    scheduler = cloud.client("scheduler")
    role = make_role(cloud.client("iam"), containers.account.name("scheduler"), assumed_by=trust())
    arn = containers.register("print defined")
    override = {"name": "main", "command": ["print at <aws.scheduler.scheduled-time>", "env TRY"]}
    name = containers.account.name("schedule")
    network = {"AssignPublicIp": "ENABLED", "Subnets": containers.network["awsvpcConfiguration"]["subnets"]}
    scheduler.create_schedule(
        Name=name,
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": f"arn:aws:ecs:{cloud.region}:{cloud.account_id}:cluster/{containers.cluster}",
            "RoleArn": role,
            "Input": json.dumps({"containerOverrides": [override]}),
            "EcsParameters": {
                "TaskDefinitionArn": arn,
                "LaunchType": "FARGATE",
                "NetworkConfiguration": {"awsvpcConfiguration": network},
            },
        },
    )
    try:
        advance(cloud.endpoint_url, 3600)
        started = f"chronos-schedule/{name}"
        found = containers.client.list_tasks(cluster=containers.cluster, startedBy=started, desiredStatus="STOPPED")[
            "taskArns"
        ]
        # It has ended, since the clock has waited for it.
        assert found
        task = containers.task(found[-1])
        assert task["lastStatus"] == "STOPPED"
        lines = containers.lines(found[-1])
        assert lines[0].startswith("at 20")
    finally:
        scheduler.delete_schedule(Name=name)


def test_state_changes_are_events(containers: Containers, cloud: Cloud) -> None:
    events, sqs = cloud.client("events"), cloud.client("sqs")
    name = containers.account.name("rule")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": queue}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    cluster = f"arn:aws:ecs:{cloud.region}:{cloud.account_id}:cluster/{containers.cluster}"
    pattern = {"source": ["aws.ecs"], "detail": {"clusterArn": [cluster]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": queue}])
    task = containers.run(containers.register("print hello"))
    containers.reached(task["taskArn"], "STOPPED")
    seen: list[dict[str, Any]] = []

    def all_told() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ()):
            event = json.loads(message["Body"])
            if event["resources"] == [task["taskArn"]]:
                seen.append(event)
        return any(event["detail"]["lastStatus"] == "STOPPED" for event in seen)

    until(all_told, "the task's end was told of")
    assert {event["detail-type"] for event in seen} == {"ECS Task State Change"}
    versions = sorted(event["detail"]["version"] for event in seen)
    assert len(set(versions)) == len(versions)
    last = max(seen, key=lambda event: int(event["detail"]["version"]))["detail"]
    assert last["stopCode"] == "EssentialContainerExited"
    assert last["containers"][0]["exitCode"] == 0
    events.remove_targets(Rule=name, Ids=["q"])
    events.delete_rule(Name=name)


def test_a_stack_has_a_cluster_and_a_service(
    containers: Containers, account: Account, stacks: Stacks, cloud: Cloud
) -> None:
    subnets = containers.network["awsvpcConfiguration"]["subnets"]
    container = containers.container("hang")
    options = container["logConfiguration"]["options"]
    made = template(
        Cluster=("AWS::ECS::Cluster", {"CapacityProviders": ["FARGATE", "FARGATE_SPOT"]}),
        Task=(
            "AWS::ECS::TaskDefinition",
            {
                "RequiresCompatibilities": ["FARGATE"],
                "NetworkMode": "awsvpc",
                "Cpu": 256,
                "Memory": 512,
                "ExecutionRoleArn": account.role,
                "ContainerDefinitions": [
                    {
                        "Name": "main",
                        "Image": account.image,
                        "EntryPoint": ["act"],
                        "Command": ["hang"],
                        "Environment": [{"Name": "A", "Value": "1"}],
                        "LogConfiguration": {"LogDriver": "awslogs", "Options": options},
                    }
                ],
            },
        ),
        Service=(
            "AWS::ECS::Service",
            {
                "Cluster": {"Ref": "Cluster"},
                "TaskDefinition": {"Ref": "Task"},
                "DesiredCount": 1,
                "CapacityProviderStrategy": [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}],
                "DeploymentConfiguration": {
                    "MinimumHealthyPercent": 0,
                    "MaximumPercent": 100,
                    "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
                },
                "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": subnets, "AssignPublicIp": "ENABLED"}},
            },
        ),
    )
    role = make_role(cloud.client("iam"), account.name("scheduler"), assumed_by=trust())
    made["Resources"]["Schedule"] = {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "ScheduleExpression": "rate(1 hour)",
            "State": "DISABLED",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": {"Fn::GetAtt": "Cluster.Arn"},
                "RoleArn": role,
                "EcsParameters": {
                    "TaskDefinitionArn": {"Ref": "Task"},
                    "TaskCount": 1,
                    "CapacityProviderStrategy": [{"CapacityProvider": "FARGATE", "Weight": 1}],
                    "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": subnets}},
                },
            },
        },
    }
    stack = stacks.made(made)
    schedule = cloud.client("scheduler").get_schedule(Name=stacks.physical(stack, "Schedule"))
    parameters = schedule["Target"]["EcsParameters"]
    assert parameters["NetworkConfiguration"]["awsvpcConfiguration"]["Subnets"] == subnets
    assert parameters["CapacityProviderStrategy"] == [{"capacityProvider": "FARGATE", "weight": 1}]
    service = stacks.physical(stack, "Service")
    cluster = stacks.physical(stack, "Cluster")
    found = containers.client.describe_services(cluster=cluster, services=[service])["services"][0]
    assert found["runningCount"] == 1
    made["Resources"]["Service"]["Properties"]["DesiredCount"] = 0
    assert stacks.update(stack, made)["StackStatus"] == "UPDATE_COMPLETE"
    found = containers.client.describe_services(cluster=cluster, services=[service])["services"][0]
    assert found["runningCount"] == found["pendingCount"] == 0
    assert stacks.delete(stack)["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.slow
def test_services_go_on_after_a_kill(
    start_localcloud: Callable[[Path], Running], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    running = start_localcloud(tmp_path)
    account = Account(lambda service: client_of(running, service), "eu-west-1")
    containers = Containers(account)
    mounted = {"mountPoints": [{"sourceVolume": "spool", "containerPath": "/var/spool/tests"}]}
    volumes = {"volumes": [{"name": "spool"}]}
    arn = containers.register(
        "list /var/spool/tests", "write /var/spool/tests/kept.txt x", "hang", task=volumes, **mounted
    )
    name = containers.serve(arn, deploymentConfiguration=SINGLE)
    containers.steady(name)
    (task,) = containers.tasks_of(name)
    alone = containers.run(containers.register("hang"))["taskArn"]
    for one in (task, alone):
        hangs(containers, one)
    before = containers.task(task)
    running.kill()
    again = start_localcloud(tmp_path)
    account = Account(lambda service: client_of(again, service), "eu-west-1")
    containers.account, containers.client = account, account.client("ecs")
    until(lambda: containers.lines(task).count("hanging") == 2, "the container runs again")
    # What it wrote before is there.
    assert "kept.txt" in containers.lines(task)
    after = containers.task(task)
    assert containers.tasks_of(name) == [task]
    assert (after["lastStatus"], after["startedAt"]) == ("RUNNING", before["startedAt"])
    ended = containers.task(alone)
    assert (ended["lastStatus"], ended["stopCode"]) == ("STOPPED", "TerminationNotice")
    assert "localcloud stopped" in ended["stoppedReason"]
