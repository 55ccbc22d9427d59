"""The stream and the REST API as CodePipeline makes them, through the role that a project has for its other stacks: it
suffices to make both, and to take them down again. In the demo a person has made them before CodePipeline comes to it.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipelines import provision
from pipelines.api import deployment as api
from pipelines.infrastructure import Wanted
from pipelines.ingestion import deployment as ingestion
from pipelines.names import LocalPaths
from pipelines.session import client
from tests.conftest import ROOT
from tests.pipelines.conftest import Project
from tests.pipelines.test_template_deployed import Account

pytestmark = pytest.mark.slow

_SECONDS = 240


def make(account: Account, name: str, wanted: Wanted) -> str:
    """Make a stack by the role, as CodePipeline does; gives its id when nothing is under way."""
    # The boundary is what its pipelines override.
    parameters = {**wanted.parameters, "PermissionsBoundary": account.names.boundary_arn}
    stack = account.cloudformation.create_stack(
        StackName=name,
        TemplateURL=account.put(f"{name}.yml", wanted.template.encode()),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
        RoleARN=account.names.stacks_role_arn,
    )["StackId"]
    assert settled(account, stack) == ("CREATE_COMPLETE", [])
    return str(stack)


def settled(account: Account, stack: str) -> tuple[Any, list[str]]:
    """The status of a stack when nothing is under way, and what failed in it."""
    deadline = time.monotonic() + _SECONDS
    while (status := _status(account, stack)).endswith("IN_PROGRESS"):
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status, account.failures(stack)


def _status(account: Account, stack: str) -> str:
    return str(account.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])


@pytest.mark.timeout(600)
def test_the_stream_and_the_api_are_made_and_taken_down_by_the_role_of_the_projects_stacks(project: Project) -> None:
    account, session, names = Account(project), project.session, project.names
    made = account.create({"RepositoryProvider": "CodeCommit"})
    assert made["StackStatus"] == "CREATE_COMPLETE"
    provision.register_images(session, names, ROOT)
    wanted = {
        names.ingestion_stack: ingestion.wanted(session, project.configuration, ROOT),
        names.api_stack: api.wanted(session, project.configuration, LocalPaths(ROOT)),
    }
    stacks = [make(account, name, one) for name, one in wanted.items()]
    role = {stack: account.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["RoleARN"] for stack in stacks}
    assert set(role.values()) == {names.stacks_role_arn}
    for stack in reversed(stacks):
        account.cloudformation.delete_stack(StackName=stack)
        assert settled(account, stack) == ("DELETE_COMPLETE", [])
    client(session, "iam").get_role(RoleName=names.stacks_role_arn.rpartition("/")[2])
