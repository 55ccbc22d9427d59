"""API Gateway as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.apigateway.account import Account
from localcloud.apigateway.apis import Apis
from localcloud.apigateway.deployments import Deployments
from localcloud.apigateway.gateway.authorization import Verify
from localcloud.apigateway.gateway.gateway import Gateway
from localcloud.apigateway.gateway.proxy import Invoke
from localcloud.apigateway.keys import ApiKeys
from localcloud.apigateway.plans import UsagePlans
from localcloud.apigateway.stages import Stages
from localcloud.apigateway.tags import Tags
from localcloud.context import Context
from localcloud.functions.logs import Logs
from localcloud.service import Handler
from localcloud.waf.service import Waf


class ApiGateway:
    """The service."""

    name = "apigateway"

    def __init__(self, context: Context, invoke: Invoke, verify: Verify, firewall: Waf) -> None:
        self._firewall = firewall
        apis, account, keys = Apis(context), Account(context), ApiKeys(context)
        self._stages = stages = Stages(context, apis, account)
        self._plans = plans = UsagePlans(context, keys, stages.exists)
        deployments, tags = Deployments(context, apis, stages), Tags(context)
        firewall.connect(stages.exists)
        apis.listen(changed=stages.forget, deleted=stages.delete_all)
        stages.listen(changed=self._stages_changed, deleted=self._stage_deleted)
        keys.listen(changed=plans.forget, deleted=plans.without_key)
        self._logs = Logs(context)
        self._gateway = gateway = Gateway(
            context,
            deployed=stages.deployed,
            plans=plans,
            invoke=invoke,
            verify=verify,
            inspect=firewall.inspect,
            write_log=lambda group, stream, lines: self._logs.write(group, stream, lines, account.log_role()),
        )
        stages.flushed(gateway.flush)
        context.web.add("execute-api", gateway.answer)
        self._operations: dict[str, Handler] = {
            "ImportRestApi": apis.import_api,
            "CreateRestApi": apis.create,
            "PutRestApi": apis.put,
            "GetRestApi": apis.get,
            "GetRestApis": apis.list,
            "UpdateRestApi": apis.update,
            "DeleteRestApi": apis.delete,
            "GetResources": apis.resources,
            "GetResource": apis.resource,
            "GetMethod": apis.method,
            "GetIntegration": apis.integration,
            "GetAuthorizers": apis.authorizers,
            "GetModels": apis.models,
            "GetRequestValidators": apis.validators,
            "GetGatewayResponses": apis.gateway_responses,
            "CreateDeployment": deployments.create,
            "GetDeployment": deployments.get,
            "GetDeployments": deployments.list,
            "UpdateDeployment": deployments.update,
            "DeleteDeployment": deployments.delete,
            "CreateStage": stages.create,
            "GetStage": stages.get,
            "GetStages": stages.list,
            "UpdateStage": stages.update,
            "DeleteStage": stages.delete,
            "FlushStageCache": stages.flush,
            "CreateApiKey": keys.create,
            "GetApiKey": keys.get,
            "GetApiKeys": keys.list,
            "UpdateApiKey": keys.update,
            "DeleteApiKey": keys.delete,
            "CreateUsagePlan": plans.create,
            "GetUsagePlan": plans.get,
            "GetUsagePlans": plans.list,
            "UpdateUsagePlan": plans.update,
            "DeleteUsagePlan": plans.delete,
            "CreateUsagePlanKey": plans.add_key,
            "GetUsagePlanKey": plans.key,
            "GetUsagePlanKeys": plans.list_keys,
            "DeleteUsagePlanKey": plans.remove_key,
            "GetUsage": plans.usage,
            "GetAccount": account.get,
            "UpdateAccount": account.update,
            "TagResource": tags.tag,
            "UntagResource": tags.untag,
            "GetTags": tags.get,
        }

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    def _stages_changed(self) -> None:
        self._plans.forget()
        self._firewall.load()

    def _stage_deleted(self, api_id: str, stage: str) -> None:
        self._plans.without_stage(api_id, stage)
        self._firewall.release(self._stages.arn(api_id, stage))
        self._gateway.forget(api_id, stage)

    def start(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Write what waits for the access logs, and call no more functions."""
        self._gateway.stop()
        self._logs.stop()
