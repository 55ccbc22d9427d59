"""One build from its provisioning to its last upload.

    PROVISIONING      a folder of its own, and the log
    DOWNLOAD_SOURCE   sources, buildspec, runtimes, variables, cached folders
    INSTALL, PRE_BUILD, BUILD, POST_BUILD
                      the commands. One that fails ends its phase, after `finally`; what follows is
                          after INSTALL, PRE_BUILD    nothing more
                          after BUILD                 POST_BUILD and UPLOAD_ARTIFACTS, unless on-failure is ABORT
                          with on-failure CONTINUE    the next phase
    UPLOAD_ARTIFACTS  reports, then artifacts
    FINALIZING        the log is flushed; cached folders stay

A build in which a phase has failed is FAILED, whatever followed.
Sources: "Build phase transitions", "Build specification reference for CodeBuild" (AWS CodeBuild User Guide).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import ClientError

from localcloud.codebuild import secrets
from localcloud.codebuild.artifacts import Uploads
from localcloud.codebuild.buildspec import PHASES, ArtifactFiles, Buildspec, Phase, parse
from localcloud.codebuild.cache import Cache
from localcloud.codebuild.console import Console
from localcloud.codebuild.environment import Machine, credentials
from localcloud.codebuild.errors import PhaseError
from localcloud.codebuild.names import Names
from localcloud.codebuild.records import Document, Records
from localcloud.codebuild.report_files import ReportError
from localcloud.codebuild.reports import Reports
from localcloud.codebuild.session import Session, SessionOver
from localcloud.codebuild.sources import Sources, said
from localcloud.context import Context
from localcloud.jobs.logs import LogStream
from localcloud.jobs.process import Control, Launcher

Outcome = Literal["SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT"]
_COMMAND_ERROR = "COMMAND_EXECUTION_ERROR"
_TIMED_OUT = ("BUILD_TIMED_OUT", "Build has timed out.")
_TYPES = {"PARAMETER_STORE": "parameters", "SECRETS_MANAGER": "secrets"}
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


class Build:
    """One build. Used by one thread; `control` is how others stop it."""

    def __init__(
        self,
        context: Context,
        records: Records,
        reports: Reports,
        launcher: Launcher,
        machine: Machine,
        cache: Cache,
        document: Document,
        folder: Path,
        control: Control,
        minute_seconds: float,
    ) -> None:
        """document: as the store has it. folder: the build's own, which is made here."""
        self._context, self._records, self._reports = context, records, reports
        self._launcher, self._machine, self._cache, self._control = launcher, machine, cache, control
        self._build, self._settings = document["Build"], document["Settings"]
        self._id, self._role = self._build["id"], self._build["serviceRole"]
        self._folder, self._home, self._temporary = folder, folder / "home", folder / "tmp"
        self.source = folder / "src"
        self._limit_seconds = self._build["timeoutInMinutes"] * minute_seconds
        self._console = Console(None, context.clock, self._id)
        self._session: Session | None = None
        self._failed = False

    def run(self) -> Outcome:
        """Run it to its end, which is not on record yet."""
        try:
            self._run()
        except PhaseError:
            self._failed = True
        except SessionOver:
            return "TIMED_OUT" if self._timed_out else "STOPPED"
        finally:
            self._end_session()
            self._console.close()
        return "FAILED" if self._failed else "SUCCEEDED"

    @property
    def _timed_out(self) -> bool:
        return self._session is not None and self._session.timed_out

    def _run(self) -> None:
        try:
            with self._phase("PROVISIONING"):
                self._provision()
            with self._phase("DOWNLOAD_SOURCE"):
                spec = self._prepare()
            completed = self._command_phases(spec)
            self._export(spec)
            if completed:
                with self._phase("UPLOAD_ARTIFACTS"):
                    self._upload(spec)
        except PhaseError:
            self._failed = True
        with self._phase("FINALIZING"):
            self._end_session()
            self._console.close()

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """A phase on record. What ends it is raised again."""
        if self._control.stopping.is_set():
            raise SessionOver
        self._records.enter(self._id, name)
        try:
            yield
        except PhaseError as error:
            self._records.leave(self._id, "FAILED", (error.code, error.message))
            self._say(f"Phase complete: {name} State: FAILED")
            self._say(f"Phase context status code: {error.code} Message: {error.message}")
            raise
        except SessionOver:
            if self._timed_out:
                self._records.leave(self._id, "TIMED_OUT", _TIMED_OUT)
            else:
                self._records.leave(self._id, "STOPPED")
            raise
        self._records.leave(self._id, "SUCCEEDED")
        if name not in ("PROVISIONING", "FINALIZING"):
            self._say(f"Phase complete: {name} State: SUCCEEDED")
            self._say("Phase context status code:  Message: ")

    def _provision(self) -> None:
        for folder in (self.source, self._home, self._temporary):
            folder.mkdir(parents=True)
        logs = self._build["logs"]
        if "groupName" not in logs:
            return
        group, stream = logs["groupName"], logs["streamName"]
        client = self._context.clients.of("logs", self._role)
        try:
            _open(client, group, stream)
        except ClientError as error:
            raise PhaseError(
                "ACCESS_DENIED" if "AccessDenied" in said(error) else "CLIENT_ERROR",
                f"Service role {self._role} does not allow AWS CodeBuild to create Amazon CloudWatch Logs log streams"
                f" for build {self._build['arn']}. Error message: {said(error)}",
            ) from error
        self._console = Console(
            LogStream(client, self._context.clock, group, stream, opened=True), self._context.clock, self._id
        )

    def _prepare(self) -> Buildspec:
        """Everything that the commands need; the session is open then."""
        sources = Sources(self._context, self._role)
        self._say("Phase is DOWNLOAD_SOURCE")
        source = self._settings["source"]
        commit = sources.fetch(source, self._settings.get("sourceVersion"), self.source)
        if commit is not None:
            self._build = self._records.change(self._id, resolvedSourceVersion=commit)
        self._say(f"CODEBUILD_SRC_DIR={self.source}")
        secondary = self._secondary_sources(sources)
        spec = parse(sources.buildspec(source, self.source))
        self._say("Processing environment variables")
        for language, version in spec.runtimes.items():
            self._machine.check_runtime(language, version)
            self._say(f"Selecting '{language}' runtime version '{version}' based on manual selections...")
        environment = self._environment(spec, secondary)
        if "LOCAL_CUSTOM_CACHE" in (self._settings.get("cache") or {}).get("modes", ()):
            for place in self._cache.link(spec.cache_paths, self.source, self._home):
                self._say(f"Symlinking: {place} to the local cache")
        self._say(f"Moving to directory {self.source}")
        self._session = Session(
            self._launcher, self._folder / "agent", spec.shell, environment, self.source, self._control
        )
        self._session.begin(self._console.output, self._console.idle, self._limit_seconds)
        return spec

    def _secondary_sources(self, sources: Sources) -> dict[str, str]:
        """Fetch them; gives the variables that say where they lie."""
        versions = {
            one["sourceIdentifier"]: one["sourceVersion"] for one in self._settings.get("secondarySourceVersions") or ()
        }
        found = {}
        for one in self._settings.get("secondarySources") or ():
            identifier = one["sourceIdentifier"]
            folder = self._folder / f"src_{identifier}"
            folder.mkdir()
            sources.fetch(one, versions.get(identifier), folder)
            found[f"CODEBUILD_SRC_DIR_{identifier}"] = str(folder)
        return found

    def _environment(self, spec: Buildspec, secondary: Mapping[str, str]) -> dict[str, str]:
        """The variables of the first command. Those of the project stand above the buildspec's. Raises PhaseError."""
        context, own = self._context, self._settings["environment"]["environmentVariables"]
        of_project: dict[str, dict[str, str]] = {"PLAINTEXT": {}, "PARAMETER_STORE": {}, "SECRETS_MANAGER": {}}
        for one in own:
            of_project[one["type"]][one["name"]] = one["value"]
        named = {one["name"] for one in own}
        references = {
            "PARAMETER_STORE": {**_without(spec.parameter_store, named), **of_project["PARAMETER_STORE"]},
            "SECRETS_MANAGER": {**_without(spec.secrets_manager, named), **of_project["SECRETS_MANAGER"]},
        }
        hidden: dict[str, str] = {}
        if references["PARAMETER_STORE"]:
            hidden |= secrets.parameters(context.clients.of("ssm", self._role), references["PARAMETER_STORE"])
        if references["SECRETS_MANAGER"]:
            hidden |= secrets.secrets(context.clients.of("secretsmanager", self._role), references["SECRETS_MANAGER"])
        self._console.hide(hidden.values())
        key = context.principals.access_key(self._role)
        return {
            **self._machine.variables(),
            **credentials(context.endpoint_url, context.region, key),
            "HOME": str(self._home),
            "TMPDIR": str(self._temporary),
            **self._described(),
            **secondary,
            **spec.variables,
            **hidden,
            **of_project["PLAINTEXT"],
        }

    def _described(self) -> dict[str, str]:
        """What AWS's build environment says of a build."""
        build, source = self._build, self._settings["source"]
        names = Names(self._context.region, self._context.account_id)
        location = source.get("location", "")
        version = build.get("sourceVersion") or (f"arn:aws:s3:::{location}" if source["type"] == "S3" else "")
        optional = {
            "CODEBUILD_LOG_PATH": build["logs"].get("streamName"),
            "CODEBUILD_RESOLVED_SOURCE_VERSION": build.get("resolvedSourceVersion"),
            "CODEBUILD_SOURCE_REPO_URL": location,
            "CODEBUILD_SOURCE_VERSION": version,
        }
        return {
            "CODEBUILD_BUILD_ARN": build["arn"],
            "CODEBUILD_BUILD_ID": build["id"],
            "CODEBUILD_BUILD_IMAGE": build["environment"]["image"],
            "CODEBUILD_BUILD_NUMBER": str(build["buildNumber"]),
            "CODEBUILD_BUILD_SUCCEEDING": "1",
            "CODEBUILD_CI": "true",
            "CODEBUILD_INITIATOR": build["initiator"],
            "CODEBUILD_KMS_KEY_ID": build["encryptionKey"],
            "CODEBUILD_PROJECT_ARN": names.project(build["projectName"]),
            "CODEBUILD_SRC_DIR": str(self.source),
            "CODEBUILD_START_TIME": str(int(build["startTime"].timestamp() * 1000)),
            **{name: value for name, value in optional.items() if value},
        }

    def _command_phases(self, spec: Buildspec) -> bool:
        """Run the phases of commands; whether artifacts are to be uploaded then."""
        for name in PHASES:
            phase = spec.phases.get(name, Phase())
            try:
                with self._phase(name.upper()):
                    self._commands(name.upper(), phase)
            except PhaseError:
                self._failed = True
                if phase.on_failure == "CONTINUE":
                    continue
                if phase.on_failure == "ABORT" or name in ("install", "pre_build"):
                    return False
        return True

    def _commands(self, name: str, phase: Phase) -> None:
        self._say(f"Entering phase {name}")
        failure: PhaseError | None = None
        for commands in (phase.commands, phase.finally_commands):
            for command in commands:
                status = self._command(command, failure is not None)
                if status != 0:
                    self._say(f"Command did not exit successfully {command.rstrip()} exit status {status}")
                    message = f"Error while executing command: {command.rstrip()}. Reason: exit status {status}"
                    failure = failure or PhaseError(_COMMAND_ERROR, message)
                    break
        if failure is not None:
            raise failure

    def _command(self, command: str, failing: bool) -> int:
        assert self._session is not None
        self._say(f"Running command {command.rstrip()}")
        succeeding = "0" if self._failed or failing else "1"
        return self._session.run(command, {"CODEBUILD_BUILD_SUCCEEDING": succeeding})

    def _upload(self, spec: Buildspec) -> None:
        self._report(spec)
        settings = self._settings
        uploads = Uploads(self._context, self._build, self.source, self._expand)
        if settings["artifacts"]["type"] == "S3":
            files = self._named(spec.artifacts, settings["artifacts"], "the primary artifact")
            put = uploads.put(settings["artifacts"], files)
            self._build = self._records.change(self._id, artifacts={**self._build["artifacts"], **put})
        wanted = [one for one in settings.get("secondaryArtifacts") or () if one["type"] == "S3"]
        for one in wanted:
            identifier = one["artifactIdentifier"]
            files = self._named(spec.secondary_artifacts.get(identifier), one, f"the secondary artifact {identifier}")
            put = uploads.put(one, files)
            there = [
                {**shown, **put} if shown.get("artifactIdentifier") == identifier else shown
                for shown in self._build["secondaryArtifacts"]
            ]
            self._build = self._records.change(self._id, secondaryArtifacts=there)

    def _named(self, files: ArtifactFiles | None, settings: Mapping[str, Any], what: str) -> ArtifactFiles:
        """An artifact whose name, where the project asks for the buildspec's, is worked out by the shell."""
        if files is None:
            raise PhaseError("CLIENT_ERROR", f"no definition for {what} in the buildspec")
        if not settings.get("overrideArtifactName") or not files.name:
            return files
        assert self._session is not None
        name = self._session.evaluate(files.name)
        return ArtifactFiles(files.files, name, files.base_directory, files.discard_paths, files.exclude_paths)

    def _report(self, spec: Buildspec) -> None:
        """Make the reports; those that cannot be made fail the phase together, after the last."""
        failures, arns = [], []
        for report in spec.reports:
            self._say(f"Preparing to copy {'CODE_COVERAGE' if report.is_coverage else 'TEST'} report {report.group}")
            try:
                arns.append(self._reports.take(report, self._build, self.source))
            except ReportError as error:
                failures.append(f"{report.group}: [{error}]")
        if spec.reports:
            self._build = self._records.change(self._id, reportArns=arns)
        if failures:
            raise PhaseError("CLIENT_ERROR", f"Error in UPLOAD_ARTIFACTS phase: [{', '.join(failures)}]")

    def _export(self, spec: Buildspec) -> None:
        """Put the exported variables on record, as the last command left them."""
        if not spec.exported_variables:
            return
        variables = self._variables
        exported = [{"name": name, "value": variables[name]} for name in spec.exported_variables if name in variables]
        self._records.change(self._id, exportedEnvironmentVariables=exported)

    def _expand(self, text: str) -> str:
        """A text with the values of variables in place of `$NAME` and `${NAME}`."""
        if "$" not in text:
            return text
        variables = self._variables
        return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)

    @cached_property
    def _variables(self) -> dict[str, str]:
        """As the last command has left them."""
        assert self._session is not None
        return self._session.variables()

    def _say(self, text: str) -> None:
        """A line of localcloud's own in the log, where it belongs among what the commands write."""
        line = self._console.stamped(text)
        if self._session is not None:
            self._session.say(line)
        else:
            self._console.say(line)

    def _end_session(self) -> None:
        """End what the commands have left running. Once is enough."""
        session, self._session = self._session, None
        if session is not None:
            for line in session.close():
                self._console.say(line)


def _open(client: Any, group: str, stream: str) -> None:
    """Make a log stream, and its group where there is none."""
    try:
        client.create_log_stream(logGroupName=group, logStreamName=stream)
    except client.exceptions.ResourceNotFoundException:
        with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
            client.create_log_group(logGroupName=group)
        client.create_log_stream(logGroupName=group, logStreamName=stream)


def _without(references: Mapping[str, str], named: set[str]) -> dict[str, str]:
    return {name: reference for name, reference in references.items() if name not in named}
