"""WAF: web ACLs, and the requests that they let pass."""
