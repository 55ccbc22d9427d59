"""Report groups, and the reports that builds put into them.

Sources: "Test reports", "Report group naming", "Test report permissions" (AWS CodeBuild User Guide).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from localcloud.codebuild import encryption, report_files
from localcloud.codebuild.archives import pack
from localcloud.codebuild.buildspec import ReportFiles
from localcloud.codebuild.errors import PhaseError, exists, invalid, missing
from localcloud.codebuild.names import Names, new_run, short
from localcloud.codebuild.pages import batch, in_order, page
from localcloud.codebuild.paths import matching, names_below
from localcloud.codebuild.report_files import File, ReportError
from localcloud.codebuild.sources import said
from localcloud.context import Context, Request
from localcloud.errors import ServiceError

Document = dict[str, Any]
_GROUP, _REPORT, _CASES = "codebuild/report-group", "codebuild/report", "codebuild/report-content"
_KEPT = timedelta(days=30)
_NO_EXPORT = {"exportConfigType": "NO_EXPORT"}
_TEST, _COVERAGE = "TEST", "CODE_COVERAGE"


class Reports:
    """The operations on report groups and reports, and what builds put into them. Any thread may call all methods."""

    def __init__(self, context: Context, names: Names) -> None:
        self._context, self._store, self._names = context, context.store, names

    def create_group(self, request: Request) -> dict[str, Any]:
        """CreateReportGroup."""
        params = request.params
        _check_export(params["exportConfig"])
        document = self._new_group(params["name"], params["type"], params["exportConfig"], params.get("tags", []))
        if not self._store.put(_GROUP, document["name"], document, if_absent=True):
            raise exists(f"Report group already exists: {document['arn']}")
        return {"reportGroup": document}

    def update_group(self, request: Request) -> dict[str, Any]:
        """UpdateReportGroup."""
        params = request.params
        name = self._group(params["arn"])["name"]
        given = {member: params[member] for member in ("exportConfig", "tags") if params.get(member) is not None}
        _check_export(given.get("exportConfig", _NO_EXPORT))
        now = self._context.clock.now()
        return {"reportGroup": self._store.update(_GROUP, name, lambda there: {**there, **given, "lastModified": now})}

    def delete_group(self, request: Request) -> dict[str, Any]:
        """DeleteReportGroup: with reports in it only if they are to go, too."""
        name = short(request.params["arn"])
        with self._store.transaction():
            reports = self._store.list(_REPORT, f"{name}:")
            if reports and not request.params.get("deleteReports"):
                raise invalid(
                    f"Report group {request.params['arn']} has {len(reports)} reports: delete them first, or set"
                    " deleteReports"
                )
            for key, _ in reports:
                self._forget(key)
            self._store.delete(_GROUP, name)
        return {}

    def batch_get_groups(self, request: Request) -> dict[str, Any]:
        """BatchGetReportGroups."""
        arns = request.params["reportGroupArns"]
        return batch(arns, lambda arn: self._store.get(_GROUP, short(arn)), "reportGroups", "reportGroupsNotFound")

    def list_groups(self, request: Request) -> dict[str, Any]:
        """ListReportGroups, by name if nothing else is asked for."""
        groups = in_order([document for _, document in self._store.list(_GROUP)], request.params)
        return page("ListReportGroups", [group["arn"] for group in groups], request.params, "reportGroups")

    def batch_get(self, request: Request) -> dict[str, Any]:
        """BatchGetReports."""
        arns = request.params["reportArns"]
        return batch(arns, lambda arn: self._store.get(_REPORT, short(arn)), "reports", "reportsNotFound")

    def list_of_group(self, request: Request) -> dict[str, Any]:
        """ListReportsForReportGroup, the newest first if nothing else is asked for."""
        params = request.params
        name = self._group(params["reportGroupArn"])["name"]
        status = (params.get("filter") or {}).get("status")
        found = [
            document["arn"]
            for _, document in self._store.list(_REPORT, f"{name}:")
            if status in (None, document["status"])
        ]
        if params.get("sortOrder") != "ASCENDING":
            found.reverse()
        return page("ListReportsForReportGroup", found, params, "reports")

    def delete(self, request: Request) -> dict[str, Any]:
        """DeleteReport."""
        self._forget(short(request.params["arn"]))
        return {}

    def describe_cases(self, request: Request) -> dict[str, Any]:
        """DescribeTestCases."""
        params = request.params
        report, content = self._content(params["reportArn"])
        wanted = params.get("filter") or {}
        cases = [
            {**case, "reportArn": report["arn"], "expired": report["expired"]}
            for case in content["Cases"]
            if wanted.get("status") in (None, case["status"])
            and (wanted.get("keyword") or "").lower() in f"{case['prefix']} {case['name']}".lower()
        ]
        # Two of them may be the same in everything.
        places = {id(case): str(place) for place, case in enumerate(cases)}
        return page("DescribeTestCases", cases, params, "testCases", lambda case: places[id(case)])

    def describe_coverages(self, request: Request) -> dict[str, Any]:
        """DescribeCodeCoverages."""
        params = request.params
        report, content = self._content(params["reportArn"])
        least, most = params.get("minLineCoveragePercentage", 0), params.get("maxLineCoveragePercentage", 100)
        found = [
            {**one, "reportARN": report["arn"], "expired": report["expired"]}
            for one in content["Coverages"]
            if least <= one["lineCoveragePercentage"] <= most
        ]
        by = "filePath" if params.get("sortBy") == "FILE_PATH" else "lineCoveragePercentage"
        found.sort(key=lambda one: one[by], reverse=params.get("sortOrder") == "DESCENDING")
        return page("DescribeCodeCoverages", found, params, "codeCoverages", lambda one: str(one["filePath"]))

    def take(self, spec: ReportFiles, build: Document, source: Path) -> str | None:
        """Make a report of a build's files; its ARN is given. Raises ReportError when there are none, or when they are
        no such report: the report is INCOMPLETE then; and when the build's role may not report."""
        role = build["serviceRole"]
        group = self._group_of(spec, build["projectName"], role)
        kind = _COVERAGE if spec.is_coverage else _TEST
        if group["type"] != kind:
            raise ReportError(f"the report group {group['arn']} is of type {group['type']}, the files are {kind}")
        writes = "BatchPutCodeCoverages" if spec.is_coverage else "BatchPutTestCases"
        self._may(role, group["arn"], "CreateReport", "UpdateReport", writes)
        base = (source / (spec.base_directory or ".")).resolve()
        paths = matching(base, spec.files)
        report = self._new_report(group, build)
        if not paths:
            self._keep(report, {"Cases": [], "Coverages": []}, "INCOMPLETE")
            raise ReportError("report files not found in build")
        named = names_below(base, paths, flat=spec.discard_paths)
        files = [File(name, path.read_bytes()) for path, name in named]
        try:
            self._fill(report, spec, files)
        except ReportError:
            self._keep(report, {"Cases": [], "Coverages": []}, "INCOMPLETE")
            raise
        self._export(group, report, named, role)
        return str(report["arn"])

    def _fill(self, report: Document, spec: ReportFiles, files: list[File]) -> None:
        if spec.is_coverage:
            found = report_files.coverages(files, spec.file_format)
            report["codeCoverageSummary"] = report_files.total(found).members()
            content = [{"id": new_run(), "filePath": one.path, **one.members()} for one in found]
            self._keep(report, {"Cases": [], "Coverages": content}, "SUCCEEDED")
            return
        cases = report_files.test_cases(files)
        report["testSummary"] = summary = report_files.test_summary(cases)
        report["truncated"] = len(cases) > report_files.MOST_CASES
        counts = summary["statusCounts"]
        status = "FAILED" if counts["FAILED"] or counts["ERROR"] else "SUCCEEDED"
        self._keep(report, {"Cases": cases[: report_files.MOST_CASES], "Coverages": []}, status)

    def _keep(self, report: Document, content: Document, status: str) -> None:
        key = short(report["arn"])
        with self._store.transaction():
            self._store.put(_REPORT, key, {**report, "status": status})
            self._store.put(_CASES, key, content)

    def _export(self, group: Document, report: Document, named: list[tuple[Path, str]], role: str) -> None:
        target = group["exportConfig"].get("s3Destination")
        if group["exportConfig"]["exportConfigType"] != "S3":
            return
        s3 = self._context.clients.of("s3", role)
        key = "/".join(part for part in (target.get("path", "").strip("/"), short(report["arn"])) if part)
        key_id = None if target.get("encryptionDisabled") else target.get("encryptionKey", "alias/aws/s3")
        with tempfile.TemporaryDirectory() as folder:
            files = [(path, f"{key}/{name}") for path, name in named]
            if target.get("packaging") == "ZIP":
                archive = Path(folder) / "report.zip"
                pack(named, archive)
                files = [(archive, f"{key}.zip")]
            for path, place in files:
                try:
                    encryption.use(self._context, role, encryption.ENCRYPT, key_id, target["bucket"], place)
                    secret = encryption.members(key_id) if key_id else {}
                    with path.open("rb") as content:
                        s3.put_object(Bucket=target["bucket"], Key=place, Body=content, **secret)
                except PhaseError as error:
                    raise ReportError(error.message) from error
                except (ClientError, ParamValidationError) as error:
                    raise ReportError(f"{said(error)} for s3://{target['bucket']}/{place}") from error

    def _new_report(self, group: Document, build: Document) -> Document:
        now = self._context.clock.now()
        return {
            "arn": self._names.report(group["name"], new_run()),
            "type": group["type"],
            "name": group["name"],
            "reportGroupArn": group["arn"],
            "executionId": build["arn"],
            "created": now,
            "expired": now + _KEPT,
            "exportConfig": group["exportConfig"],
            "truncated": False,
        }

    def _group_of(self, spec: ReportFiles, project: str, role: str) -> Document:
        """The group that a buildspec names: one that is there, by its ARN; or that of the project, which is made."""
        if spec.group.startswith("arn:"):
            found = self._store.get(_GROUP, short(spec.group))
            if found is None:
                raise ReportError(f"there is no report group {spec.group}")
            return found
        name = f"{project}-{spec.group}"
        found = self._store.get(_GROUP, name)
        if found is None:
            self._may(role, self._names.report_group(name), "CreateReportGroup")
            self._store.put(
                _GROUP,
                name,
                self._new_group(name, _COVERAGE if spec.is_coverage else _TEST, _NO_EXPORT, []),
                if_absent=True,
            )
            found = self._group(name)
        return found

    def _may(self, role: str, arn: str, *operations: str) -> None:
        try:
            for operation in operations:
                self._context.authority.check(role, f"codebuild:{operation}", arn)
        except ServiceError as error:
            raise ReportError(error.message) from error

    def _new_group(self, name: str, kind: str, export: Mapping[str, Any], tags: list[dict[str, str]]) -> dict[str, Any]:
        now = self._context.clock.now()
        return {
            "arn": self._names.report_group(name),
            "name": name,
            "type": kind,
            "exportConfig": dict(export),
            "created": now,
            "lastModified": now,
            "tags": tags,
            "status": "ACTIVE",
        }

    def _group(self, name: str) -> Document:
        found = self._store.get(_GROUP, short(name))
        if found is None:
            raise missing(f"Report group {name} does not exist")
        return found

    def _content(self, arn: str) -> tuple[Document, Document]:
        report, content = self._store.get(_REPORT, short(arn)), self._store.get(_CASES, short(arn))
        if report is None or content is None:
            raise missing(f"Report {arn} does not exist")
        return report, content

    def _forget(self, key: str) -> None:
        with self._store.transaction():
            self._store.delete(_REPORT, key)
            self._store.delete(_CASES, key)


def _check_export(export: Mapping[str, Any]) -> None:
    if export.get("exportConfigType") == "S3" and not (export.get("s3Destination") or {}).get("bucket"):
        raise invalid("Invalid exportConfig: s3Destination.bucket must be specified for the type S3")
