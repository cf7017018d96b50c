# Compares what a room's files include with the rooms that it names.
# Run by quire_room at build time; see cmake/QuireRooms.cmake.
#
# An include is ours if the file is there, below src/ or the root, or if it is
# one of the generated words; its directory is its room.

cmake_minimum_required(VERSION 3.25)

set(seen "")
foreach(file IN LISTS FILES)
  file(STRINGS ${file} lines REGEX "^#[ \t]*include[ \t]*\"")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^#[ \t]*include[ \t]*\"([^\"]*)\".*" "\\1" path
           "${line}")
    cmake_path(GET path PARENT_PATH room)
    if(room STREQUAL "google/rpc")
      set(room "quire/v1")
    endif()
    if(NOT EXISTS ${SOURCE_DIR}/src/${path} AND NOT EXISTS ${SOURCE_DIR}/${path}
       AND NOT room STREQUAL "quire/v1")
      continue()
    endif()
    cmake_path(RELATIVE_PATH file BASE_DIRECTORY ${SOURCE_DIR}
               OUTPUT_VARIABLE shown)
    if(room STREQUAL PREFIX)
      continue()
    endif()
    if(NOT room IN_LIST ALLOWED)
      message(FATAL_ERROR
        "${shown} includes \"${path}\", but room '${NAME}' does not name the "
        "room '${room}'. It may use: ${ALLOWED}. "
        "If the arrow is meant, add it where the room is declared.")
    endif()
    list(APPEND seen ${room})
  endforeach()
endforeach()

foreach(room IN LISTS ALLOWED)
  if(NOT room IN_LIST seen)
    message(FATAL_ERROR
      "room '${NAME}' names '${room}', but none of its files includes it. "
      "Remove the name.")
  endif()
endforeach()

file(WRITE ${STAMP} "")
