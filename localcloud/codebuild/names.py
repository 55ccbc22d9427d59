"""ARNs and ids of CodeBuild: `project/p`, `build/p:UUID`, `report-group/g`, `report/g:UUID`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PARTITION = "aws"


@dataclass(frozen=True)
class Names:
    """Makes the ARNs of one account and region."""

    region: str
    account_id: str

    def project(self, name: str) -> str:
        """A project's ARN."""
        return self._arn(f"project/{name}")

    def build(self, build_id: str) -> str:
        """A build's ARN by its id."""
        return self._arn(f"build/{build_id}")

    def report_group(self, name: str) -> str:
        """A report group's ARN."""
        return self._arn(f"report-group/{name}")

    def report(self, group: str, run: str) -> str:
        """The ARN of one report of a group."""
        return self._arn(f"report/{group}:{run}")

    def _arn(self, resource: str) -> str:
        return f"arn:{_PARTITION}:codebuild:{self.region}:{self.account_id}:{resource}"


def new_build_id(project: str) -> str:
    """The id of a new build: its project's name and a UUID."""
    return f"{project}:{uuid.uuid4()}"


def new_run() -> str:
    """What tells a report from the others of its group."""
    return str(uuid.uuid4())


def short(name_or_arn: str) -> str:
    """The last part of an ARN, or the name that was given in place of one."""
    return name_or_arn.rpartition("/")[2] if name_or_arn.startswith("arn:") else name_or_arn


def in_policies(operation: str, params: Mapping[str, Any]) -> list[str]:
    """What a call is about, by the last parts of the ARNs that a policy names: builds by their project, reports by
    their group.

    Source: "Actions, resources, and condition keys for AWS CodeBuild" (Service Authorization Reference).
    """
    if operation in ("CreateReportGroup", "UpdateReportGroup", "DeleteReportGroup"):
        name = params.get("name") or params.get("arn") or ""
        return [f"report-group/{short(str(name))}"]
    groups = params.get("reportGroupArns") or [params.get("reportGroupArn")]
    reports = params.get("reportArns") or [params.get("reportArn") or (operation == "DeleteReport" and params["arn"])]
    found = [short(str(arn)) for arn in groups if arn]
    found += [short(str(arn)).partition(":")[0] for arn in reports if arn]
    if found:
        return [f"report-group/{name}" for name in dict.fromkeys(found)]
    builds = params.get("ids") or [params.get("id")]
    projects = params.get("names") or [params.get("projectName") or params.get("name")]
    found = [short(str(build)).partition(":")[0] for build in builds if build]
    found += [short(str(name)) for name in projects if name]
    return [f"project/{name}" for name in dict.fromkeys(found)]
