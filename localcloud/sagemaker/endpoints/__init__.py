"""Endpoints: models that are served, behind one name.

operations ── the API of configurations and endpoints; documents in the store
  └─ hosting ── one endpoint as it lives: created, updated, scaled, deleted, taken up after a restart
       ├─ deployment ── an update by blue/green: traffic shifted by the steps of `policy`, watched by alarms
       ├─ fleet ── the servers of one configuration
       │    └─ instance ── one server process, started again when it crashes
       ├─ traffic ── which server a request goes to
       └─ capture ── requests and answers written to S3
invocation ── InvokeEndpoint, the service sagemaker-runtime
"""
