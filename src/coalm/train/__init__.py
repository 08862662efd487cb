"""Fine-tuning: records to token ids, the training loop, run folders, merging."""
