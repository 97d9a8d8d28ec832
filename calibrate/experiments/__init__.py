"""Experiments: what a trained model, or a recipe to train by, is worth.

Each has one function that takes a ``Workspace`` and its own parameters, and returns a ``Report``. Where these are the
same for all, they are described here alone:

- ``recipe_path``: a training recipe, or the corpora and splits to evaluate a trained model on, None being the run's.
- ``folder``: of a run, or of a bundle, which runs the device's own code.
- ``encoder``: replaces where the pretrained encoder is loaded from.
- ``head``: of ``configs/heads``, laid over the recipe's.
- ``split``: whose speakers are evaluated on.
"""
