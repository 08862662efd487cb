#!/bin/bash
# Two machines of 8 GPUs become one Ray cluster, and the first serves CoALM 405B on all 16.
#
# Usage, in the environment of vLLM (pip install 'coalm[vllm]' ray), model files on both machines:
#   first machine:   configs/infer/jobs/ray_two_nodes.sh head uiuc-convai/CoALM-405B
#   second machine:  configs/infer/jobs/ray_two_nodes.sh worker ADDRESS_OF_THE_FIRST
#
# RAY_AUTH_TOKEN must be set, to the same secret on both: Ray takes orders from whoever knows it.
#   export RAY_AUTH_TOKEN=$(openssl rand -hex 32)   # on the first machine; copy it to the second
# VLLM_HOST_IP must be set where a machine has several addresses: the one that the other reaches.
# `ray stop` on both machines ends it.

set -euo pipefail

export RAY_AUTH_MODE=token
: "${RAY_AUTH_TOKEN:?set it to the same secret on both machines}"
GPUS=${GPUS:-16}
PORT_OF_RAY=6379
ROLE=${1:?head or worker}

case $ROLE in
  head)
    MODEL=${2:?folder or hub name of the model}
    shift 2
    ray start --head --port "$PORT_OF_RAY" --disable-usage-stats
    until python -c "
import ray
ray.init('auto', logging_level='error')
raise SystemExit(ray.cluster_resources().get('GPU', 0) < $GPUS)"; do
      echo "waiting for $GPUS GPUs" >&2
      sleep 10
    done
    exec "$(dirname "$0")/vllm_405b.sh" two_nodes "$MODEL" "$@" ;;
  worker)
    exec ray start --address "${2:?address of the first machine}:$PORT_OF_RAY" --block \
      --disable-usage-stats ;;
  *)
    echo "no role '$ROLE'; there are head and worker" >&2
    exit 2 ;;
esac
