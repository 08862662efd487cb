#!/usr/bin/env bash
# The whole road on a laptop: build data, measure the base model, train, measure again, compare.
# `make demo` runs it. Every step prints its command and resumes: after a stop, run it again.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n\033[1m== %s\033[0m\n' "$1"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

step "1/7 The base model: SmolLM2-135M-Instruct"
run coalm fetch smollm2-135m-instruct

step "2/7 Raw data"
if run coalm fetch snips sgd sealtools apibank; then
  echo "Real data: SNIPS, Schema-Guided Dialogue and Seal-Tools to learn from, API-Bank to be measured on."
  out=demo/real
  data=(-c configs/data/demo.yaml)
  task=(apibank)
else
  echo "The data sets are out of reach, so this demo learns and is measured in the mini world that comes with coalm."
  out=demo/world
  run coalm world $out/raw
  data=(-c configs/data/demo_world.yaml root=$out/raw)
  task=(heldout heldout.path=$out/data/validation.jsonl)
fi
task+=(--limit 40 generation.max_new_tokens=128 --model smollm2-135m-instruct)

step "3/7 The training data"
if [ -f $out/data/manifest.json ]; then
  run coalm data stats $out/data
else
  run coalm data build "${data[@]}" output_dir=$out/data
fi

step "4/7 Before: the base model"
run coalm eval run "${task[@]}" --out $out/base

step "5/7 Training (LoRA)"
run coalm train -c configs/train/demo.yaml training.output_dir=$out/train \
  data.train.datasets.0.dataset_path=$out/data/train.jsonl \
  data.validation.datasets.0.dataset_path=$out/data/validation.jsonl

step "6/7 After: the tuned model on the same samples"
# a run folder belongs to one model: measurements of an older training are void
[ $out/train/adapter -ot $out/tuned/run.json ] || rm -rf $out/tuned
run coalm eval run "${task[@]}" --adapter $out/train/adapter --out $out/tuned
run coalm eval report $out/base $out/tuned --out $out/report

step "7/7 CoALM-135M, which comes with coalm: two turns in the mini world, whose functions really run"
printf '%s\n' "How will the weather be in Fernhill tomorrow?" "Can you check my savings account?" |
  run coalm chat --world mini generation.guided=true

step "Done. Now you: the model that you trained, or the one that comes with coalm"
echo ".venv/bin/coalm chat --model smollm2-135m-instruct --adapter $out/train/adapter --world mini"
echo ".venv/bin/coalm chat --world mini generation.guided=true"
