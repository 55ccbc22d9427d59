"""EventBridge Scheduler: schedules, their groups, and the moments at which they reach their targets."""
