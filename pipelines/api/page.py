"""A page that shows the API's document, and from which it can be tried: Swagger UI, whole in one file."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.api.document import SCHEME

__all__ = ["render"]

_ASSETS = "flask_swagger_ui"


def render(document: dict[str, Any], token: str | None) -> str:
    """The page for a public document, which names the API's address; with a token, it asks on its behalf."""
    address = urlsplit(document["servers"][0]["url"])
    assets = files(_ASSETS) / "dist"
    environment = Environment(loader=PackageLoader("pipelines.api", "."), undefined=StrictUndefined, autoescape=True)
    return environment.get_template("page.html.j2").render(
        title=document["info"]["title"],
        origin=f"{address.scheme}://{address.netloc}",
        style=(assets / "swagger-ui.css").read_text(encoding="utf-8"),
        # As an address: what it says of HTML's comments and scripts must not be read as the page's own.
        program=base64.b64encode((assets / "swagger-ui-bundle.js").read_bytes()).decode(),
        values=json.dumps({"document": document, "scheme": SCHEME, "token": token}).replace("<", "\\u003c"),
    )
