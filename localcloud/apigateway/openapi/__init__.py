"""The import of an OpenAPI document: from its bytes to what the API then is."""
