"""Cognito user pools: users, clients and the tokens that are signed for them."""
