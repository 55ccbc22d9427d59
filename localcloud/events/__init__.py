"""EventBridge: buses, rules, what their patterns match, and the delivery to targets."""
