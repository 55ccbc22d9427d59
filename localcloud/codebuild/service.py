"""CodeBuild as a service: its parts put together, and its operations by name."""

from __future__ import annotations

import os
from collections.abc import Mapping

from localcloud.codebuild.builds import Builds
from localcloud.codebuild.names import Names
from localcloud.codebuild.projects import Projects
from localcloud.codebuild.records import Records
from localcloud.codebuild.reports import Reports
from localcloud.codebuild.runner import Runner
from localcloud.context import Context
from localcloud.jobs.reaper import Reaper
from localcloud.service import Handler


class CodeBuild:
    """The service. `reaper` kills builds when localcloud is killed; `environ` is localcloud's own environment."""

    name = "codebuild"

    def __init__(self, context: Context, reaper: Reaper, environ: Mapping[str, str] = os.environ) -> None:
        names, records = Names(context.region, context.account_id), Records(context)
        reports, projects = Reports(context, names), Projects(context, names)
        self._runner = Runner(context, records, reports, reaper, environ=environ)
        builds = Builds(context, names, projects, records, self._runner)
        self._operations: dict[str, Handler] = {
            "CreateProject": projects.create,
            "UpdateProject": projects.update,
            "DeleteProject": projects.delete,
            "BatchGetProjects": projects.batch_get,
            "ListProjects": projects.list,
            "StartBuild": builds.start,
            "RetryBuild": builds.retry,
            "StopBuild": builds.stop,
            "BatchGetBuilds": builds.batch_get,
            "BatchDeleteBuilds": builds.batch_delete,
            "ListBuilds": builds.list,
            "ListBuildsForProject": builds.list_of_project,
            "CreateReportGroup": reports.create_group,
            "UpdateReportGroup": reports.update_group,
            "DeleteReportGroup": reports.delete_group,
            "BatchGetReportGroups": reports.batch_get_groups,
            "ListReportGroups": reports.list_groups,
            "BatchGetReports": reports.batch_get,
            "ListReportsForReportGroup": reports.list_of_group,
            "DeleteReport": reports.delete,
            "DescribeTestCases": reports.describe_cases,
            "DescribeCodeCoverages": reports.describe_coverages,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Deal with the builds that an earlier localcloud left unfinished."""
        self._runner.recover()

    def stop(self) -> None:
        """Kill all builds."""
        self._runner.close()
