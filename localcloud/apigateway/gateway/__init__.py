"""What answers requests to a stage of an API, step by step as API Gateway does:

    firewall → route → authorizer → API key → throttling → validation → cache → integration → answer

It reads what is deployed (`localcloud.apigateway.deployed`) and keeps nothing that must outlive the process: the counts
of requests and the answers in caches are lost with it.
"""
