#!/bin/sh
# Calls that the house forbids, each with what to use instead. Usage: tools/grep-rules.sh
set -eu

cd "$(dirname "$0")/.."
status=0

# forbid PATTERN INSTEAD PATHSPEC...
forbid() {
  pattern=$1 instead=$2
  shift 2
  if git grep -nE --untracked "$pattern" -- "$@"; then
    echo "  ^ instead: $instead" >&2
    status=1
  fi
}

forbid '\btorch::randn|\bat::randn|\btorch::rand\(|\bat::rand\(|manual_seed' 'models/noise.h (Philox)' \
  'models/*.cpp' 'models/*.h' 'stages' ':!models/training'
forbid 'std::c(out|err)\b|\bprintf\(' 'spdlog, or a result on stdout from cli/' \
  'core' 'io' 'models' 'pipeline' 'stages' 'viewer' ':!models/training/train_main.cpp'
forbid '\b(exit|abort|quick_exit)\(' 'throw Error' 'core' 'io' 'models' 'pipeline' 'stages' 'viewer' ':!pipeline/signals.cpp' ':!models/training/train_main.cpp'
forbid 'models/torch\.h|torch/torch\.h|ATen/ATen\.h|<torch/' 'a forward declaration of at::Tensor, or a source under models/' \
  'core' 'io' 'pipeline' 'stages' 'cli' 'models/*engines.h' 'models/state_dict.h'
forbid '<torch/torch\.h>' 'models/torch.h, and the header of what it lacks' '*.cpp' '*.h'
forbid '\bstrtod\(|\batof\(|\bstod\(' 'std::from_chars (no locale)' '*.cpp' '*.h' ':!tests'
forbid '"(stages|cli)/' 'nothing above: includes point one way' 'core' 'io' 'models' 'pipeline' 'viewer'
forbid '"(models|pipeline)/' 'nothing beside: viewer/ knows core/ and io/ alone' 'viewer'
forbid '"viewer/' 'nothing above: includes point one way' 'core' 'io' 'models' 'pipeline' 'stages'
forbid '"(io|pipeline)/' 'nothing beside or above: models/ knows core/ alone' 'models'
forbid '"(models|pipeline)/' 'nothing beside or above: io/ knows core/ alone' 'io'
forbid '"(io|models)/' 'nothing beside: pipeline/ knows core/ alone' 'pipeline'
forbid 'TODO|FIXME|\bXXX\b' 'an issue' '*.cpp' '*.h' 'tools/build.sh' 'Makefile' 'CMakeLists.txt'
exit $status
