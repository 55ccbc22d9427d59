"""AWS's wire protocols, as pure functions of botocore's service models.

    http         what goes in and out: `HttpRequest`, `HttpResponse`
    models       botocore's models, and which operation a request is
    request      HTTP request -> parameters
    validation   parameters -> nothing, or what is wrong with them
    response     result -> HTTP response
    fault        error -> HTTP response

Protocols: json (1.0 and 1.1), rest-json, query and smithy-rpc-v2-cbor; of rest-xml only errors, because S3 itself is
moto's. The specification of each is the Smithy documentation (https://smithy.io/2.0/aws/protocols/); where it leaves a
choice, botocore's serializers and parsers decide, which the tests use as the other end.
"""
