"""Distillation: a small encoder learns from a trained run."""
