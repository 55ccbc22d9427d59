"""What the contract's tests do with containers: a cluster, task definitions of the tests' image, what they wrote."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from tests.contract.sagemaker_account import Account, until


class Containers:
    """A cluster in an account. What is left of its services and tasks is ended at the end."""

    def __init__(self, account: Account) -> None:
        self.account, self.client = account, account.client("ecs")
        self.cluster = account.name("cluster")
        self.group = f"/tests/{self.cluster}"
        account.logs.create_log_group(logGroupName=self.group)
        self.client.create_cluster(
            clusterName=self.cluster,
            capacityProviders=["FARGATE", "FARGATE_SPOT"],
            defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}],
        )

    @cached_property
    def network(self) -> dict[str, Any]:
        """Of the account's default VPC."""
        subnets = self.account.client("ec2").describe_subnets()["Subnets"]
        return {"awsvpcConfiguration": {"subnets": [subnets[0]["SubnetId"]], "assignPublicIp": "ENABLED"}}

    def container(self, *lines: str, name: str = "main", **members: Any) -> dict[str, Any]:
        """A container definition whose program does what the lines say."""
        options = {
            "awslogs-group": self.group,
            "awslogs-region": self.account.region,
            "awslogs-stream-prefix": "tests",
        }
        return {
            "name": name,
            "image": self.account.image,
            "entryPoint": ["act"],
            "command": list(lines),
            "stopTimeout": 5,
            "logConfiguration": {"logDriver": "awslogs", "options": options},
            **members,
        }

    def definition(self, *containers: dict[str, Any], **members: Any) -> dict[str, Any]:
        """RegisterTaskDefinition's parameters."""
        return {
            "family": self.account.name("family"),
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "256",
            "memory": "512",
            "taskRoleArn": self.account.role,
            "executionRoleArn": self.account.role,
            "containerDefinitions": list(containers),
            **members,
        }

    def register(self, *lines: str, task: dict[str, Any] | None = None, **members: Any) -> str:
        """A new task definition of one container; gives its ARN."""
        params = self.definition(self.container(*lines, **members), **(task or {}))
        return str(self.client.register_task_definition(**params)["taskDefinition"]["taskDefinitionArn"])

    def run(self, definition: str, **members: Any) -> dict[str, Any]:
        """Start a task."""
        answer = self.client.run_task(
            cluster=self.cluster, taskDefinition=definition, networkConfiguration=self.network, **members
        )
        assert not answer["failures"]
        task: dict[str, Any] = answer["tasks"][0]
        return task

    def task(self, arn: str) -> dict[str, Any]:
        task: dict[str, Any] = self.client.describe_tasks(cluster=self.cluster, tasks=[arn])["tasks"][0]
        return task

    def reached(self, arn: str, status: str) -> dict[str, Any]:
        """A task when it has a status."""

        def there() -> dict[str, Any] | None:
            task = self.task(arn)
            return task if task["lastStatus"] == status else None

        found: dict[str, Any] = until(there, f"{arn} is {status}")
        return found

    def lines(self, arn: str, container: str = "main") -> list[str]:
        """What a container of a task has written."""
        stream = f"tests/{container}/{arn.rpartition('/')[2]}"
        try:
            page = self.account.logs.get_log_events(logGroupName=self.group, logStreamName=stream, startFromHead=True)
        except ClientError:
            return []
        return [event["message"] for event in page["events"]]

    def serve(self, definition: str, count: int = 1, **members: Any) -> str:
        """Make a service; gives its name."""
        name = self.account.name("service")
        self.client.create_service(
            cluster=self.cluster,
            serviceName=name,
            taskDefinition=definition,
            desiredCount=count,
            networkConfiguration=self.network,
            **members,
        )
        return name

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_services(cluster=self.cluster, services=[name])["services"][0]
        return found

    def steady(self, name: str) -> dict[str, Any]:
        """A service when its deployment is complete."""

        def there() -> dict[str, Any] | None:
            service = self.service(name)
            states = [one["rolloutState"] for one in service["deployments"]]
            return service if states == ["COMPLETED"] and service["runningCount"] == service["desiredCount"] else None

        found: dict[str, Any] = until(there, f"{name} is steady")
        return found

    def tasks_of(self, name: str) -> list[str]:
        """The ARNs of a service's tasks that are to run."""
        found: list[str] = self.client.list_tasks(cluster=self.cluster, serviceName=name)["taskArns"]
        return found

    def close(self) -> None:
        """End everything, and the cluster."""
        for arn in self.client.list_services(cluster=self.cluster)["serviceArns"]:
            self.client.delete_service(cluster=self.cluster, service=arn, force=True)
        for arn in self.client.list_tasks(cluster=self.cluster)["taskArns"]:
            self.client.stop_task(cluster=self.cluster, task=arn)

        def deleted() -> bool:
            errors = self.client.exceptions
            with contextlib.suppress(errors.ClusterContainsServicesException, errors.ClusterContainsTasksException):
                self.client.delete_cluster(cluster=self.cluster)
                return True
            return False

        until(deleted, f"{self.cluster} is deleted")
        self.account.logs.delete_log_group(logGroupName=self.group)
