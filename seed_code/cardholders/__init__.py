"""The cardholders workload: cardholders grouped by behaviour, and whether one will purchase within k days."""
