# Compares what a room's files include with the rooms that it names.
# Run by quire_room at build time; see cmake/QuireRooms.cmake.
#
# An include is ours if the file is there, below src/ or the root, or if it is
# one of the generated words; its directory is its room.

cmake_minimum_required(VERSION 3.25)

set(seen "")
foreach(file IN LISTS FILES)
  cmake_path(GET file PARENT_PATH directory)
  cmake_path(RELATIVE_PATH file BASE_DIRECTORY ${SOURCE_DIR}
             OUTPUT_VARIABLE shown)
  file(STRINGS ${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^[^<\"]*[<\"]([^>\"]*)[>\"].*" "\\1" path "${line}")
    cmake_path(GET path PARENT_PATH room)
    if(room STREQUAL "google/rpc")
      set(room "quire/v1")
    endif()

    if(path MATCHES "(^|/)\\.\\.?/")
      message(FATAL_ERROR
        "${shown} includes \"${path}\" by a relative path, which hides its "
        "room. Write the path from src/, or from the root.")
    elseif(EXISTS ${SOURCE_DIR}/src/${path})
      set(header ${SOURCE_DIR}/src/${path})
    elseif(EXISTS ${SOURCE_DIR}/${path})
      set(header ${SOURCE_DIR}/${path})
    elseif(line MATCHES "\"" AND EXISTS ${directory}/${path})
      message(FATAL_ERROR
        "${shown} includes \"${path}\", which is beside it. "
        "Write the path from src/, or from the root.")
    elseif(NOT room MATCHES "^quire/")
      continue()
    endif()

    if(room STREQUAL PREFIX)
      if(path MATCHES "\\.h$" AND NOT header IN_LIST FILES)
        message(FATAL_ERROR
          "${shown} includes \"${path}\", which room '${NAME}' does not list "
          "under HEADERS, so that nobody checks what it includes. List it.")
      endif()
      continue()
    endif()
    if(NOT room IN_LIST ALLOWED)
      list(JOIN ALLOWED ", " allowed)
      message(FATAL_ERROR
        "${shown} includes \"${path}\", but room '${NAME}' does not name the "
        "room '${room}' under USES. It names: ${allowed}. If the arrow is "
        "meant, add it where the room is declared.")
    endif()
    list(APPEND seen ${room})
  endforeach()

  # The first include of table.cc is "table/table.h", which thereby is seen to
  # compile alone.
  string(REGEX REPLACE "\\.cc$" ".h" own ${file})
  if(NOT own STREQUAL file AND own IN_LIST FILES)
    cmake_path(GET own FILENAME own)
    if(NOT lines MATCHES "^[^<\"]*\"${PREFIX}/${own}\"")
      message(FATAL_ERROR
        "${shown} does not include \"${PREFIX}/${own}\" before anything else, "
        "so that nobody sees whether it compiles alone. Move it to the top.")
    endif()
  endif()
endforeach()

foreach(room IN LISTS ALLOWED)
  if(NOT room IN_LIST seen)
    message(FATAL_ERROR
      "room '${NAME}' names the room '${room}' under USES, but none of its "
      "files includes it. Remove the name.")
  endif()
endforeach()

file(WRITE ${STAMP} "")
