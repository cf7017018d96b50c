# How every file of ours is compiled. Sanitizers and optimisation live in the
# presets; instruction sets on single files (src/CMakeLists.txt, kernels).

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_LINK_DEPENDS_NO_SHARED ON)

find_program(QUIRE_CCACHE ccache)
if(QUIRE_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${QUIRE_CCACHE})
endif()

add_library(quire_compiler INTERFACE)
# No silent fusing: a multiply-add is fused where the code says std::fma and
# nowhere else, so that every CPU computes the same bytes (DESIGN section 6).
target_compile_options(quire_compiler INTERFACE
  -ffp-contract=off -fno-math-errno -Wall -Wextra -Wshadow -Werror
  # Designated initializers leave out what has a default.
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(quire_compiler INTERFACE -Wthread-safety)
endif()
