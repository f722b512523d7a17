"""The program: configurations, data, training, evaluation, tuning, editing."""
