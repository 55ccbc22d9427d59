"""The Lambda functions of a deployment. Each file with a `handler` is one function; the others are their parts.

They carry boto3, AWS Lambda Powertools and `pipelines/names.py`, nothing else (`pipelines/functions.py` packs them).
Every function is idempotent: events come more than once, and a function that failed is called again.

    approvals    a decision on a model package was taken: starts the deploy pipeline of the stage that it concerns
    steps        the Lambda steps of the deploy pipelines
    waiting      an endpoint has settled: goes on with the execution that waits for it
    failures     an execution of a deploy pipeline has ended without having done its work: puts the stage right
"""
