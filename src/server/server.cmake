# prosa_server: HTTP in front of Chats. Boost is used by a few files alone, and by headers only: nothing to link. TLS is
# one file, which needs OpenSSL; another one stands for it where that is missing.
file(GLOB server_sources CONFIGURE_DEPENDS server/*.cpp)
if(PROSA_TLS_FOUND)
  list(FILTER server_sources EXCLUDE REGEX "/no_tls\\.cpp$")
else()
  list(FILTER server_sources EXCLUDE REGEX "/tls\\.cpp$")
endif()

# What browsers are given lies in the program itself.
file(GLOB embedded CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/server server/page/* server/openapi.json)
list(TRANSFORM embedded PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/server/ OUTPUT_VARIABLE embedded_paths)
list(JOIN embedded "," embedded_names)
set(embedded_source ${CMAKE_CURRENT_BINARY_DIR}/server/embedded_files.cpp)
add_custom_command(OUTPUT ${embedded_source}
                   COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_CURRENT_SOURCE_DIR}/server -DFILES=${embedded_names}
                           -DOUTPUT=${embedded_source} -P ${CMAKE_CURRENT_SOURCE_DIR}/server/embed.cmake
                   DEPENDS ${embedded_paths} ${CMAKE_CURRENT_SOURCE_DIR}/server/embed.cmake
                   COMMENT "Embedding the server's page" VERBATIM)

prosa_library(prosa_server ${server_sources} ${embedded_source})
set_target_properties(prosa_server PROPERTIES UNITY_BUILD OFF)  # Boost's headers stay in their files
target_link_libraries(prosa_server PUBLIC prosa_core PRIVATE fmt::fmt $<BUILD_INTERFACE:prosa_plain_options> $<BUILD_INTERFACE:Boost::headers>)
if(PROSA_TLS_FOUND)
  target_link_libraries(prosa_server PRIVATE OpenSSL::SSL OpenSSL::Crypto)
endif()
target_compile_definitions(prosa_server PRIVATE BOOST_ASIO_NO_DEPRECATED PROSA_VERSION="${PROJECT_VERSION}")
