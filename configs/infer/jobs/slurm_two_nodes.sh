#!/bin/bash
# CoALM 405B served from two machines of 8 GPUs under Slurm.
#
# Usage, from the repository's folder, which both machines must see:
#   mkdir -p output && sbatch configs/infer/jobs/slurm_two_nodes.sh uiuc-convai/CoALM-405B
#   coalm infer -i -c configs/infer/405b_two_nodes.yaml remote_params.api_url=http://MACHINE:8000/v1
#
# The log says which MACHINE it is.

#SBATCH --job-name=coalm-serve
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --output=output/slurm-%j.log

set -euo pipefail

MODEL=${1:?folder or hub name of the model}
shift
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
ADDRESS=$(srun --nodes 1 --ntasks 1 -w "$HEAD" hostname --ip-address | awk '{print $1}')
echo "serving on $HEAD ($ADDRESS), port 8000"

RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export ADDRESS RAY_AUTH_TOKEN
srun bash -c '
  if [ "$SLURM_PROCID" = 0 ]; then
    export VLLM_HOST_IP=$ADDRESS
    exec configs/infer/jobs/ray_two_nodes.sh head "$@"
  fi
  sleep 20 # the first machine opens its port meanwhile
  exec configs/infer/jobs/ray_two_nodes.sh worker "$ADDRESS"' serve "$MODEL" "$@"
