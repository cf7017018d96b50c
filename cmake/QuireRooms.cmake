# The building, held by machine.
#
#   quire_room(shard DIR src/table USES base row PACKAGES absl::status
#              HEADERS a.h SOURCES a.cc)
#
# declares one room: a library of the files named, which may include its own
# headers and those of the rooms under USES. Four mistakes are caught:
#   configure   USES names a room that is declared further up, or not at all
#   build       a file includes a room that USES does not name
#   build       USES names a room that no file includes
#   build       a header does not compile alone
# A source includes its own header first, which shows that the header compiles
# alone; a header without a source of its name is compiled for the purpose
# (all_verify_interface_header_sets, built by the presets dev and release).
# A room can name only rooms that are there already, so there is no circle.
# The target `arrows` looks at all includes and compiles nothing;
# tests/arrows provokes each mistake.

add_custom_target(arrows)

function(quire_room name)
  cmake_parse_arguments(ROOM "" "DIR" "USES;PACKAGES;HEADERS;SOURCES" ${ARGN})
  if(ROOM_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "room '${name}': what is '${ROOM_UNPARSED_ARGUMENTS}'?")
  endif()
  foreach(used IN LISTS ROOM_USES)
    if(NOT TARGET quire::${used})
      message(FATAL_ERROR
        "room '${name}' names the room '${used}' under USES, but no room of "
        "that name is declared before it. Arrows point down: see "
        "src/CMakeLists.txt and docs/ARCHITECTURE.md.")
    endif()
    list(APPEND targets quire::${used})
  endforeach()

  # A room is included by its path below src/, or below the root.
  cmake_path(SET dir NORMALIZE ${CMAKE_SOURCE_DIR}/${ROOM_DIR})
  string(REGEX REPLACE "^src/" "" prefix ${ROOM_DIR})
  string(REGEX REPLACE "${prefix}$" "" root ${CMAKE_SOURCE_DIR}/${ROOM_DIR})
  list(TRANSFORM ROOM_HEADERS PREPEND ${dir}/)
  list(TRANSFORM ROOM_SOURCES PREPEND ${dir}/)
  foreach(header IN LISTS ROOM_HEADERS)
    string(REGEX REPLACE "h$" "cc" source ${header})
    if(source IN_LIST ROOM_SOURCES)
      list(APPEND led ${header})
    else()
      list(APPEND alone ${header})
    endif()
  endforeach()

  add_library(quire_${name} STATIC ${ROOM_SOURCES})
  add_library(quire::${name} ALIAS quire_${name})
  target_sources(quire_${name} PUBLIC
    FILE_SET HEADERS BASE_DIRS ${root} FILES ${led})
  set_property(TARGET quire_${name} PROPERTY LINKER_LANGUAGE CXX)
  if(alone)
    target_sources(quire_${name} PUBLIC
      FILE_SET alone TYPE HEADERS BASE_DIRS ${root} FILES ${alone})
    set_target_properties(quire_${name} PROPERTIES
      VERIFY_INTERFACE_HEADER_SETS ON INTERFACE_HEADER_SETS_TO_VERIFY alone)
  endif()
  target_link_libraries(quire_${name}
    PUBLIC ${targets} ${ROOM_PACKAGES} PRIVATE quire_compiler)

  set_property(TARGET quire_${name} PROPERTY QUIRE_ROOM_PREFIX ${prefix})
  _quire_check_arrows(${name} ${prefix} "${ROOM_USES}"
                      "${ROOM_HEADERS};${ROOM_SOURCES}")
endfunction()

# Generated words: a room without files of its own, included as quire/v1/….
function(quire_words_room name prefix)
  add_library(quire::${name} ALIAS quire_${name})
  set_property(TARGET quire_${name} PROPERTY QUIRE_ROOM_PREFIX ${prefix})
endfunction()

function(_quire_check_arrows name prefix uses files)
  foreach(used IN LISTS uses)
    get_target_property(path quire_${used} QUIRE_ROOM_PREFIX)
    list(APPEND allowed ${path})
  endforeach()
  set(stamp ${CMAKE_BINARY_DIR}/arrows/${name}.stamp)
  set(script ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/CheckArrows.cmake)
  add_custom_command(OUTPUT ${stamp}
    COMMAND ${CMAKE_COMMAND} -D "NAME=${name}" -D "PREFIX=${prefix}"
      -D "ALLOWED=${allowed}" -D "FILES=${files}" -D "STAMP=${stamp}"
      -D "SOURCE_DIR=${CMAKE_SOURCE_DIR}" -P ${script}
    DEPENDS ${files} ${script}
    COMMENT "Arrows of room ${name}" VERBATIM)
  add_custom_target(quire_${name}_arrows DEPENDS ${stamp})
  add_dependencies(quire_${name} quire_${name}_arrows)
  add_dependencies(arrows quire_${name}_arrows)
endfunction()

# quire_program(quire-server quire::server main.cc): an executable of a room.
function(quire_program name room)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE ${room} quire_compiler)
endfunction()

# quire_test(table USES table PACKAGES … SOURCES shard_test.cc): tests/table.
function(quire_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "USES;PACKAGES;SOURCES" ${ARGN})
  list(TRANSFORM TEST_SOURCES PREPEND ${name}/)
  list(TRANSFORM TEST_USES PREPEND quire::)
  add_executable(${name}_test ${TEST_SOURCES})
  target_include_directories(${name}_test PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name}_test PRIVATE ${TEST_USES} ${TEST_PACKAGES}
    quire::test_main quire_compiler)
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  gtest_discover_tests(${name}_test DISCOVERY_MODE PRE_TEST
    PROPERTIES TIMEOUT ${TEST_TIMEOUT})
endfunction()

# quire_bench(kernels USES kernels SOURCES kernels_bench.cc): bench/.
function(quire_bench name)
  cmake_parse_arguments(BENCH "" "" "USES;PACKAGES;SOURCES" ${ARGN})
  list(TRANSFORM BENCH_USES PREPEND quire::)
  add_executable(${name}_bench ${BENCH_SOURCES})
  target_include_directories(${name}_bench PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name}_bench PRIVATE ${BENCH_USES} ${BENCH_PACKAGES}
    benchmark::benchmark_main quire_compiler)
endfunction()
