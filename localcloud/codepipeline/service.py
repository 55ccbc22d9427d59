"""AWS CodePipeline as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.codecommit.repositories import Repositories
from localcloud.codepipeline import actiontypes
from localcloud.codepipeline.actions.approvals import Approval
from localcloud.codepipeline.actions.builds import CodeBuild
from localcloud.codepipeline.actions.invocations import Lambda
from localcloud.codepipeline.actions.kind import Kind
from localcloud.codepipeline.actions.sources import Bucket, CodeCommit, Connection
from localcloud.codepipeline.actions.stacks import CloudFormation
from localcloud.codepipeline.answers import Answers
from localcloud.codepipeline.engine import Engine
from localcloud.codepipeline.executions import Executions
from localcloud.codepipeline.notices import Notices
from localcloud.codepipeline.pipelines import Pipelines
from localcloud.codepipeline.records import Records
from localcloud.codepipeline.state import State
from localcloud.codepipeline.tags import Tags
from localcloud.codepipeline.triggers import Triggers
from localcloud.context import Context
from localcloud.service import Handler


class CodePipeline:
    """The service. `repositories` are what its sources read, and what tells of pushes."""

    name = "codepipeline"

    def __init__(self, context: Context, repositories: Repositories) -> None:
        build = CodeBuild()
        kinds: dict[tuple[str, str], Kind] = {
            (actiontypes.SOURCE, actiontypes.CODE_COMMIT): CodeCommit(repositories),
            (actiontypes.SOURCE, actiontypes.CONNECTION): Connection(repositories),
            (actiontypes.SOURCE, actiontypes.S3): Bucket(),
            (actiontypes.BUILD, actiontypes.CODE_BUILD): build,
            (actiontypes.TEST, actiontypes.CODE_BUILD): build,
            (actiontypes.APPROVAL, actiontypes.MANUAL): Approval(),
            (actiontypes.INVOKE, actiontypes.LAMBDA): Lambda(),
            (actiontypes.DEPLOY, actiontypes.CLOUDFORMATION): CloudFormation(),
        }
        records = Records(context)
        self._engine = engine = Engine(context, records, Notices(context), kinds)
        Triggers(records, engine, repositories)
        pipelines, executions = Pipelines(context, records, engine), Executions(context, records, engine)
        answers, state, tags = (
            Answers(context, records, engine),
            State(context, records, engine),
            Tags(context, records),
        )
        self._operations: dict[str, Handler] = {
            "CreatePipeline": pipelines.create,
            "GetPipeline": pipelines.get,
            "UpdatePipeline": pipelines.update,
            "DeletePipeline": pipelines.delete,
            "ListPipelines": pipelines.list,
            "StartPipelineExecution": executions.start,
            "StopPipelineExecution": executions.stop,
            "RetryStageExecution": executions.retry_stage,
            "GetPipelineExecution": executions.get,
            "ListPipelineExecutions": executions.list,
            "ListActionExecutions": executions.list_actions,
            "GetPipelineState": state.get,
            "EnableStageTransition": state.enable,
            "DisableStageTransition": state.disable,
            "PutApprovalResult": answers.approve,
            "PutJobSuccessResult": answers.job_succeeded,
            "PutJobFailureResult": answers.job_failed,
            "TagResource": tags.tag,
            "UntagResource": tags.untag,
            "ListTagsForResource": tags.list,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def start(self) -> None:
        """Go on with the executions that an earlier localcloud has left."""
        self._engine.start()

    def stop(self) -> None:
        """Leave what runs to the next start."""
        self._engine.close()
