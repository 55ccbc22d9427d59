"""The report of one execution: a single HTML page that needs nothing but itself.

`page.Inputs` is what is told (plain descriptions as the AWS API gives them, and the evaluation that the image wrote);
`page.render` makes the page of it and does no I/O. `gather.gather` collects the inputs through boto3 clients.
"""
