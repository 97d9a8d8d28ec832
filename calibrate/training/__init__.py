"""From utterances to a trained head: features, augmentation, objective, schedule, trainer."""
