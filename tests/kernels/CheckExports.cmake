# An object that is built for a wide instruction set exports its accessor and
# nothing else. A shared inline function in it could be the copy that the
# linker keeps for the whole program, and stop a CPU that lacks the set.
#
#   cmake -D NM=nm -D OBJECTS=a.o;b.o -P CheckExports.cmake

cmake_minimum_required(VERSION 3.25)

set(checked 0)
foreach(object IN LISTS OBJECTS)
  if(NOT object MATCHES "/(scalar|avx2|avx512)\\.cc\\.o$")
    continue()
  endif()
  execute_process(COMMAND ${NM} --extern-only --defined-only --demangle ${object}
    OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  if(NOT symbols MATCHES
     "^[0-9a-f]+ T quire::kernels::(Scalar|Avx2|Avx512)Table\\(\\)\n$")
    message(FATAL_ERROR "${object} exports more than its table:\n${symbols}")
  endif()
  math(EXPR checked "${checked} + 1")
endforeach()
if(NOT checked EQUAL 3)
  message(FATAL_ERROR "looked at ${checked} objects of 3 in: ${OBJECTS}")
endif()
