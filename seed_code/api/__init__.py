"""The REST API in front of the models in production: two Lambda functions behind API Gateway.

    openapi.yml    what may be asked and is answered, and how API Gateway passes it on
    predictions    the function for POST /predictions, /predictions:batch and /feedback, and GET /health
    forecasts      the function for GET /forecasts
    application    what both have: routes, answers, errors, log

The other modules are their parts. Nothing is imported but the standard library, boto3, AWS Lambda Powertools and
marshmallow. Time is the request's, as API Gateway gives it, never the machine's.
"""
