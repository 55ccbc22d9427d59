"""What topics of SNS are subscribed to beyond queues: HTTP on this machine, and e-mail, which becomes files."""
