"""SageMaker Pipelines: definitions checked when they come in, and executed step by step.

definition   the JSON as frozen classes; every mistake found at once
resolve      Parameters, Execution.*, Get paths, Std:Join and Std:JsonGet to plain values
conditions   Equals, GreaterThan, …, In, Not, Or
steps        what each step type does
cache        keys over resolved arguments, and the runs they lead to
retry        retry policies
waiting      how a step waits: for the answer to a callback, for another try
notices      the events of executions and steps
executor     the order of things: dependencies, branches, parallelism, stop, retry, restart
operations   the API
"""
