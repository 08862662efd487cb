#!/bin/bash
# Serve CoALM 405B with vLLM, OpenAI-compatible, on port 8000.
#
# Usage:
#   configs/infer/jobs/vllm_405b.sh two_nodes uiuc-convai/CoALM-405B   # on the Ray cluster of ray_two_nodes.sh
#   configs/infer/jobs/vllm_405b.sh fp8 MODEL_DIR                      # a checkpoint in FP8, 8 GPUs of 80 GB
#   configs/infer/jobs/vllm_405b.sh awq MODEL_DIR                      # a checkpoint in 4-bit AWQ, 8 GPUs of 40 GB
#
# Further words go to `vllm serve`; an adapter of coalm on a base model, for example:
#   ... fp8 BASE_DIR --enable-lora --max-lora-rank 16 --lora-modules coalm-405b=ADAPTER_DIR
# PRINT=1 shows the command and runs nothing.

set -euo pipefail

VARIANT=${1:?two_nodes, fp8 or awq}
MODEL=${2:?folder or hub name of the model}
shift 2

case $VARIANT in
  two_nodes)
    LAYOUT=(--tensor-parallel-size 8 --pipeline-parallel-size 2
      --distributed-executor-backend ray --dtype bfloat16) ;;
  fp8 | awq)
    LAYOUT=(--tensor-parallel-size 8) ;;
  *)
    echo "no variant '$VARIANT'; there are two_nodes, fp8, awq" >&2
    exit 2 ;;
esac

SERVE=(vllm serve "$MODEL"
  --served-model-name "${NAME:-coalm-405b}"
  --host 0.0.0.0 --port "${PORT:-8000}"
  --max-model-len "${MAX_LENGTH:-16384}"
  --gpu-memory-utilization 0.9
  --enable-prefix-caching
  --generation-config vllm # nothing of the checkpoint's own sampling settings
  "${LAYOUT[@]}" "$@")

if [ -n "${PRINT:-}" ]; then
  printf '%q ' "${SERVE[@]}"
  echo
else
  exec "${SERVE[@]}"
fi
