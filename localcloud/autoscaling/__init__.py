"""The service application-autoscaling: endpoints' variants that follow a target."""
