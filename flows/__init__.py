"""What happens in which order: train, finetune, validate, prune."""
