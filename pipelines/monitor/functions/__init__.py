"""The Lambda functions of the monitoring. Each file with a `handler` is one function; the others are their parts.

They carry boto3, AWS Lambda Powertools, `pipelines/names.py`, `pipelines/starter.py` with what it needs, and
`pipelines/carried`, nothing else. Every function is idempotent: schedules and events come more than once, and a
function that failed is called again.

    evaluations  an hour has passed, or an alarm has fired: starts the monitor pipeline of the stage, and makes up for
                 hours that were cut off
    retraining   an alarm has fired, a build has ended, or it is time to look again: starts the build pipeline, or tells
                 a person
"""
