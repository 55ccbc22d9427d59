"""Lambda: functions that run in processes of their own, what invokes them, and who may."""
