"""What a trained model is worth: figures, protocols, conditions, comparisons and their reports."""
