"""What carries a change to where it belongs: a push to the pipelines that it concerns, an approval to production."""
