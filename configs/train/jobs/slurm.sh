#!/bin/bash
# CoALM 405B on two machines of 8 GPUs under Slurm.
#
# Usage, from the repository's folder, which both machines must see:
#   mkdir -p output && sbatch configs/train/jobs/slurm.sh
#   sbatch configs/train/jobs/slurm.sh training.learning_rate=5.0e-5
#
# Slurm ends a job with SIGTERM: coalm then saves a checkpoint, and the same command goes on from it.

#SBATCH --job-name=coalm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=72:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --output=output/slurm-%j.log

set -euo pipefail

RECIPE=configs/train/405b.yaml
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)

srun torchrun \
  --nnodes "$SLURM_NNODES" \
  --nproc-per-node 8 \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-backend c10d \
  --rdzv-endpoint "$HEAD:29500" \
  -m coalm train -c "$RECIPE" "$@"
