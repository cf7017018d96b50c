#!/usr/bin/env bash
# Provokes each mistake that cmake/QuireRooms.cmake promises to catch, in a
# building of two rooms made for the purpose, and reads what it is told.
#
#   arrows_test.sh SOURCE_DIR CMAKE CXX
set -euo pipefail
source_dir=$1 cmake=$2 cxx=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# A sound building: `upper` stands on `ground`, and nothing else.
building() {
  rm -rf "$work/tree" && mkdir -p "$work/tree/src/"{ground,upper}
  cd "$work/tree"
  cat >CMakeLists.txt <<TREE
cmake_minimum_required(VERSION 3.25)
project(building LANGUAGES CXX)
list(APPEND CMAKE_MODULE_PATH $source_dir/cmake)
add_library(quire_compiler INTERFACE)
include(QuireRooms)
add_subdirectory(src)
TREE
  cat >src/CMakeLists.txt <<'TREE'
quire_room(ground DIR src/ground HEADERS ground.h SOURCES ground.cc)
quire_room(upper DIR src/upper USES ground HEADERS lone.h upper.h SOURCES upper.cc)
TREE
  printf '#pragma once\n#include <string>\nstd::string Ground();\n' \
    >src/ground/ground.h
  printf '#include "ground/ground.h"\nstd::string Ground() { return "g"; }\n' \
    >src/ground/ground.cc
  printf '#pragma once\nint Upper();\n' >src/upper/upper.h
  printf '#pragma once\n#include <string>\nstd::string Lone();\n' \
    >src/upper/lone.h
  printf '#include "upper/upper.h"\n\n#include "%s"\nint Upper() { return 1; }\n' \
    ground/ground.h >src/upper/upper.cc
}

configure() {
  "$cmake" -G Ninja -S . -B build -D CMAKE_CXX_COMPILER="$cxx" \
    -D CMAKE_CXX_COMPILER_WORKS=1
}
make() {
  configure && "$cmake" --build build \
    --target all --target all_verify_interface_header_sets
}

# check NAME COMMAND…: says how a command went.
check() {
  if "${@:2}"; then
    echo "ok      $1"
  else
    echo "FAILED  $1"
    sed 's/^/        /' "$work/log"
    failures=$((failures + 1))
  fi
}

# refused WORDS STEP: STEP fails and says WORDS (CMake breaks its lines).
refused() {
  ! "$2" >"$work/log" 2>&1 && [[ $(tr -s ' \n' ' ' <"$work/log") == *"$1"* ]]
}
stands() { make >"$work/log" 2>&1; }

building
check "a sound building stands" stands

building
sed -i 's/HEADERS ground.h/USES upper &/' src/CMakeLists.txt
check "an arrow that points up fails at configure" \
  refused "room 'ground' names the room 'upper' under USES, but no room of that name is declared before it." configure

building
sed -i '1{h;d};2{G}' src/CMakeLists.txt
sed -i 's/HEADERS ground.h/USES upper &/' src/CMakeLists.txt
check "of two rooms that name each other, whichever comes first fails" \
  refused "room 'upper' names the room 'ground' under USES" configure

building
sed -i 's/USES ground //' src/CMakeLists.txt
check "an include of a room that is not named fails at build" \
  refused "src/upper/upper.cc includes \"ground/ground.h\", but room 'upper' does not name the room 'ground'" make

building
sed -i 's/USES ground //' src/CMakeLists.txt
sed -i 's|"ground/ground.h"|<ground/ground.h>|' src/upper/upper.cc
check "so does one in angle brackets" \
  refused "does not name the room 'ground'" make

building
sed -i 's|"ground/ground.h"|"../ground/ground.h"|' src/upper/upper.cc
check "so does one by a relative path" \
  refused "by a relative path" make

building
sed -i 's|"upper/upper.h"|"upper.h"|' src/upper/upper.cc
check "a header is named from the top, also by its neighbour" \
  refused "src/upper/upper.cc includes \"upper.h\", which is beside it" make

building
echo '#pragma once' >src/upper/malloc.h
sed -i '1a #include <malloc.h>' src/upper/upper.cc
check "a system header may have the name of a neighbour" stands

building
sed -i '/ground.h/d' src/upper/upper.cc
check "a room that is named and not included fails at build" \
  refused "room 'upper' names the room 'ground' under USES, but none of its files includes it." make

building
sed -i 's|int Upper|#include "upper/hidden.h"\n&|' src/upper/upper.h
echo '#pragma once' >src/upper/hidden.h
check "a header that its room does not list fails at build" \
  refused "which room 'upper' does not list under HEADERS" make

building
sed -i '/include/d' src/ground/ground.h
check "a header that does not stand alone fails at build" \
  refused "ground/ground.h:2:" make

building
sed -i '1i #include <string>' src/ground/ground.cc
check "its source may not hide that by what it includes before" \
  refused "src/ground/ground.cc does not include \"ground/ground.h\" before anything else" make

building
sed -i '/include/d' src/upper/lone.h
check "nor may a header that has no source of its name" \
  refused "upper/lone.h:2:" make

((failures == 0))
