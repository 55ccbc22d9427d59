"""How services say that a call is not allowed: the code and the status of each, and IAM's sentence.

Source: "Troubleshoot access denied error messages" in the IAM User Guide, and "Common errors" in each service's API
reference.
"""

from __future__ import annotations

from localcloud.errors import ServiceError
from localcloud.iam.evaluation import Decision
from localcloud.protocols import models

_CODES = {"ec2": "UnauthorizedOperation", "sns": "AuthorizationError"}
_BEFORE = {"ec2": "You are not authorized to perform this operation. "}


def denied(
    service: str, protocol: str, who: str, action: str, resource: str, decision: Decision, missing_role: bool = False
) -> ServiceError:
    """The error of a call that is not allowed.

    service: by botocore's name. who: the ARN as AWS names the caller. missing_role: whether IAM has no such role.
    """
    about = f'"{resource}"' if service == "s3" else resource
    text = f"{_BEFORE.get(service, '')}User: {who} is not authorized to perform: {action}"
    # STS does not say which of the policies it was, nor do services where the action has no resource.
    text += f" on resource: {about}" if resource != "*" or service != "ec2" else ""
    if service != "sts" and decision.because:
        text += f" {decision.because}"
    if missing_role:
        text += "; the role does not exist"
    code = code_of(service, protocol)
    plain_json = code == "AccessDeniedException" and protocol in (models.JSON, models.CBOR)
    return ServiceError(code, text, 400 if plain_json else 403)


def code_of(service: str, protocol: str) -> str:
    """`AccessDenied` where a service speaks XML, or once did; `AccessDeniedException` elsewhere."""
    if service in _CODES:
        return _CODES[service]
    speaks_xml = protocol in (models.QUERY, models.REST_XML) or (models.is_service(service) and _spoke_query(service))
    return "AccessDenied" if speaks_xml else "AccessDeniedException"


def _spoke_query(service: str) -> bool:
    return "awsQueryCompatible" in models.service_model(service).metadata
