# Fuzz targets: libFuzzer, with clang (preset clang).
#
#   quire_fuzzer(codec ROOM wire SOURCES wire/codec_fuzz.cc …)
#
# builds bin/codec_fuzz. The sources of the room are compiled into it, so that
# they are instrumented and everything else stays as it is.

function(quire_fuzzer name)
  cmake_parse_arguments(FUZZER "" "ROOM" "SOURCES" ${ARGN})
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "QUIRE_BUILD_FUZZERS needs clang: preset 'clang'.")
  endif()
  get_target_property(room_sources quire_${FUZZER_ROOM} SOURCES)
  get_target_property(room_libraries quire_${FUZZER_ROOM} LINK_LIBRARIES)
  set(sanitizers -fsanitize=fuzzer,address,undefined
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_executable(${name}_fuzz ${FUZZER_SOURCES} ${room_sources})
  target_include_directories(${name}_fuzz PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_options(${name}_fuzz PRIVATE ${sanitizers})
  target_link_options(${name}_fuzz PRIVATE ${sanitizers})
  target_link_libraries(${name}_fuzz PRIVATE ${room_libraries})
endfunction()
