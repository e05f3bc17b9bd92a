"""The words for what a network predicts; families and schedules both speak them (MATH A2)."""

PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow", "edm")
"""What a network may predict."""
