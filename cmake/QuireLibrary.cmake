# libquire.so: the room client/c for other programs, and how they find it.
#
#   cmake --install build/release --component library --prefix DIR
#
# installs it with its header, for find_package(quire) and for pkg-config.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(symbols ${PROJECT_SOURCE_DIR}/client/c/quire.map)
# All objects of the room: nothing in the library itself calls them.
add_library(quire_library SHARED $<TARGET_OBJECTS:quire_c>)
target_link_libraries(quire_library PRIVATE quire_c)
# What is not in the map stays inside: two copies of the same C++ in a process
# do not meet.
target_link_options(quire_library PRIVATE
  LINKER:--version-script=${symbols} LINKER:--no-undefined
  LINKER:--gc-sections)
# Until 1.0 a version breaks the one before.
set_target_properties(quire_library PROPERTIES
  OUTPUT_NAME quire EXPORT_NAME quire LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION 0
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib
  LINK_DEPENDS ${symbols})
target_include_directories(quire_library
  INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

set(packages ${CMAKE_INSTALL_LIBDIR}/cmake/quire)
install(TARGETS quire_library EXPORT quire COMPONENT library)
install(FILES ${PROJECT_SOURCE_DIR}/client/client_c.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/quire COMPONENT library)
install(EXPORT quire NAMESPACE quire:: FILE quire-config.cmake
  DESTINATION ${packages} COMPONENT library)
write_basic_package_version_file(
  ${CMAKE_CURRENT_BINARY_DIR}/quire-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/quire-config-version.cmake
  DESTINATION ${packages} COMPONENT library)
file(RELATIVE_PATH prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/quire.pc.in
  ${CMAKE_CURRENT_BINARY_DIR}/quire.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/quire.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
