"""API Gateway: REST APIs, described by the service `apigateway` and answering at addresses of their own."""
