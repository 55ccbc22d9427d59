"""CodeCommit: Git repositories that are cloned, fetched and pushed to over HTTP, and what its API says of them."""
